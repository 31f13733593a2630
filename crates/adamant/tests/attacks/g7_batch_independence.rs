//! An image's result has the same bits alone and in any batch, tile, order and number of threads.

use super::table::*;

#[test]
fn an_image_gets_the_same_bits_alone_in_any_order_tile_and_thread_count() {
    let mut linear = small();
    let batch = linear.batch(13, 4);
    for norm in NORMS {
        for attack in table(&threat(norm, "0.2")) {
            linear.tile = 3;
            let (whole, passes) = attacked(&linear, attack.as_ref(), &batch, &stream(5));
            let backwards: Vec<usize> = (0..13).rev().collect();
            let (reversed, _) =
                attacked(&linear, attack.as_ref(), &batch.select(&backwards), &stream(5));
            for image in 0..13 {
                let (alone, _) =
                    attacked(&linear, attack.as_ref(), &batch.select(&[image]), &stream(5));
                assert_eq!(alone.images.one(0), whole.images.one(image), "{}", attack.name());
                assert_eq!(alone.restarts[0], whole.restarts[image]);
                let target = |some: &Perturbed, i: usize| some.targets.as_ref().map(|t| t[i]);
                assert_eq!(target(&alone, 0), target(&whole, image));
                assert_eq!(reversed.images.one(12 - image), whole.images.one(image));
            }
            for (threads, tile) in [(1, 1), (1, 64), (2, 3), (3, 2), (5, 64)] {
                linear.tile = tile;
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let tiled = pool
                    .expect("threads")
                    .install(|| perturb_in_tiles(&linear, attack.as_ref(), &batch, &stream(5)));
                let (tiled, tiled_passes) = tiled.expect("a sound attack");
                assert_eq!(bits(&tiled.images), bits(&whole.images), "{}", attack.name());
                assert_eq!((&tiled.targets, &tiled.restarts), (&whole.targets, &whole.restarts));
                assert_eq!(tiled_passes, passes);
            }
        }
    }
}

#[test]
fn the_coin_of_a_batch_is_the_same_in_all_its_tiles() {
    let mut linear = small();
    let batch = linear.batch(12, 4);
    let start = Start::CleanWithProbability { probability: 0.5, scope: CoinScope::PerBatch };
    let attack = pgd(&threat(Norm::Linf, "0.1"), 0, start, 1);
    linear.tile = 1;
    let clean = |time| {
        let stream = AttackStream { time, ..stream(8) };
        let (found, _) =
            perturb_in_tiles(&linear, &attack, &batch, &stream).expect("a sound attack");
        (0..12).filter(|&i| found.images.one(i) == batch.images.one(i)).count()
    };
    let counts: Vec<usize> = (0..20).map(clean).collect();
    assert!(counts.iter().all(|&count| count == 0 || count == 12), "{counts:?}");
    assert!(counts.contains(&0) && counts.contains(&12), "{counts:?}");
}

#[test]
fn of_several_errors_the_earliest_image_is_named() {
    let mut linear = small();
    let mut batch = linear.batch(12, 4);
    batch.labels[5] = 77;
    batch.labels[9] = 78;
    linear.tile = 1;
    let error = perturb_in_tiles(&linear, &NoAttack, &batch, &stream(1)).expect_err("labels");
    assert_eq!(error.to_string(), "image 53: the label is 77, expected one below 5");
}
