//! Where a search starts is drawn as the recipe says.

use super::table::*;

fn clean_share(scope: CoinScope, streams: &[AttackStream], images: usize) -> Vec<usize> {
    let linear = Linear::random(Shape::new(1, 1, 2), 2, 1);
    let batch = linear.batch(images, 1);
    let start = Start::CleanWithProbability { probability: 0.2, scope };
    let attack = pgd(&threat(Norm::Linf, "0.1"), 0, start, 1);
    let clean = |stream: &AttackStream| {
        let (found, _) = attacked(&linear, &attack, &batch, stream);
        (0..images).filter(|&i| found.images.one(i) == batch.images.one(i)).count()
    };
    streams.iter().map(clean).collect()
}

// Four standard errors of a share of .2 at n = 10,000: 4 * sqrt(.2 * .8 / n) = .016.
fn assert_a_fifth(count: usize) {
    assert!((count as f64 / 1e4 - 0.2).abs() < 0.016, "{count} of 10,000");
}

#[test]
fn a_coin_per_image_is_clean_a_fifth_of_the_time() {
    assert_a_fifth(clean_share(CoinScope::PerImage, &[stream(21)], 10_000)[0]);
}

#[test]
fn a_coin_per_batch_has_one_outcome_per_rank_and_step() {
    let streams: Vec<AttackStream> = (0..5_000)
        .flat_map(|time| [0, 1].map(|rank| AttackStream { time, rank, ..stream(22) }))
        .collect();
    let counts = clean_share(CoinScope::PerBatch, &streams, 3);
    assert!(counts.iter().all(|&count| count == 0 || count == 3));
    let clean = |count: usize| count == 3;
    assert_a_fifth(counts.iter().filter(|&&count| clean(count)).count());
    let differ = counts.chunks(2).filter(|pair| clean(pair[0]) != clean(pair[1])).count();
    // Independent ranks differ with probability 2 * .2 * .8 = .32.
    assert!((differ as f64 / 5e3 - 0.32).abs() < 4.0 * (0.32_f64 * 0.68 / 5e3).sqrt());
}

#[test]
fn a_start_depends_only_on_its_keys() {
    let linear = small();
    let batch = linear.batch(3, 1);
    let attack = pgd(&threat(Norm::L2, "0.5"), 0, Start::Uniform, 1);
    let run = |stream: AttackStream| attacked(&linear, &attack, &batch, &stream).0.images;
    let stream = AttackStream { stream: Stream::new(9), time: 4, rank: 0, first_restart: 2 };
    assert_eq!(bits(&run(stream)), bits(&run(stream)));
    let alone = attacked(&linear, &attack, &batch.select(&[2]), &stream).0.images;
    assert_eq!(alone.one(0), run(stream).one(2));
}
