//! Group G30: ranks as threads that sum, compare, and miss each other.

use collective::{Collective, CollectiveError, Queue, Solo, Threads, Wire, agree, sum_behind};
use std::thread;
use std::time::Duration;

/// What every rank of a world of `size` makes of `work`, by rank.
fn all<T: Send>(size: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
    let world = Threads::world(size, Duration::from_secs(20));
    thread::scope(|scope| {
        let handles: Vec<_> = world
            .into_iter()
            .map(|rank| {
                scope.spawn(|| {
                    let rank = rank;
                    work(&rank)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

/// Numbers of very different size, so that another order of addition gives other bits.
fn numbers(rank: usize, count: usize) -> Vec<f32> {
    let number = |i: usize| {
        let mixed = (i * 31 + rank * 17) % 97;
        (mixed as f32 - 48.3) * 10_f32.powi(mixed as i32 % 7 - 3)
    };
    (0..count).map(number).collect()
}

#[test]
fn g30_sums_have_the_same_bytes_on_all_ranks_whatever_remainder_the_slices_leave() {
    for (size, count) in [(1, 5), (2, 7), (3, 10), (4, 3), (5, 0)] {
        for wire in [Wire::F32, Wire::Bf16] {
            let sums = all(size, |ranks| {
                let mut values = numbers(ranks.rank(), count);
                ranks.sum(&mut values, wire).unwrap();
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            assert!(sums.iter().all(|sum| sum == &sums[0]), "{size} ranks, {wire:?}");
        }
    }
}

#[test]
fn g30_a_sum_is_added_in_pairs_of_ranks() {
    let sums = all(4, |ranks| {
        let mut values = numbers(ranks.rank(), 50);
        ranks.sum(&mut values, Wire::F32).unwrap();
        values
    });
    let [a, b, c, d] = [0, 1, 2, 3].map(|rank| numbers(rank, 50));
    for i in 0..50 {
        let expected = (a[i] + b[i]) + (c[i] + d[i]);
        assert_eq!(sums[2][i].to_bits(), expected.to_bits());
    }
}

/// A summand and the sum are each rounded once to 8 bits, by at most 2^-8 of themselves: together at most 2^-7 of the sum
/// of magnitudes, for any number of ranks, and a little for the product of both.
#[test]
fn g30_half_the_bytes_cost_at_most_two_roundings() {
    for size in [2, 3] {
        let sum = |wire| {
            all(size, |ranks| {
                let mut values = numbers(ranks.rank(), 200);
                ranks.sum(&mut values, wire).unwrap();
                values
            })
            .swap_remove(0)
        };
        let (single, half) = (sum(Wire::F32), sum(Wire::Bf16));
        assert_ne!(single, half);
        for i in 0..200 {
            let size: f32 = (0..size).map(|rank| numbers(rank, 200)[i].abs()).sum();
            assert!((single[i] - half[i]).abs() <= size * 2_f32.powi(-7) * 1.01);
        }
    }
}

#[test]
fn g30_sums_in_double_precision_keep_it() {
    let sums = all(3, |ranks| {
        let mut values = [1.0, 1e-17, 0.1].map(|x: f64| x * (ranks.rank() + 1) as f64);
        ranks.sum_f64(&mut values).unwrap();
        values
    });
    assert_eq!(sums[1], [6.0, (1e-17 + 2e-17) + 3e-17, (0.1 + 0.2) + 0.1 * 3.0]);
}

#[test]
fn g30_sums_that_travel_behind_work_have_the_bits_of_those_that_are_waited_for() {
    for wire in [Wire::F32, Wire::Bf16] {
        all(3, |ranks| {
            let lengths = [7, 1, 40];
            let mut waited: Vec<_> = lengths.map(|n| numbers(ranks.rank(), n)).into();
            waited.iter_mut().for_each(|values| ranks.sum(values, wire).unwrap());
            let (done, sums) = sum_behind(ranks, wire, |post| {
                lengths.iter().for_each(|&n| post.sum(numbers(ranks.rank(), n)));
                ranks.rank()
            });
            assert_eq!((done, sums.unwrap()), (ranks.rank(), waited));
        });
    }
    let (_, alone) = sum_behind(&Solo, Wire::Bf16, |post| post.sum(numbers(0, 5)));
    assert_eq!(alone.unwrap(), [numbers(0, 5)]);
}

#[test]
fn g30_a_sum_that_fails_behind_work_is_told_when_it_is_done() {
    let errors = all(2, |ranks| {
        let work = |post: &collective::Post| {
            [3 + ranks.rank(), 2].iter().for_each(|&n| post.sum(vec![0.0; n]));
        };
        sum_behind(ranks, Wire::F32, work).1.unwrap_err()
    });
    assert_eq!(errors[1].to_string(), "sum: rank 0 gave 12 bytes, expected 16");
}

#[test]
fn everybody_learns_what_the_root_gave_and_what_each_rank_gave() {
    let heard = all(3, |ranks| {
        let own = vec![ranks.rank() as u8; 4 + ranks.rank()];
        let broadcast = ranks.broadcast(1, own.clone()).unwrap();
        let gathered = ranks.gather("test", &own).unwrap();
        ranks.barrier().unwrap();
        (broadcast, gathered)
    });
    for (broadcast, gathered) in heard {
        assert_eq!(broadcast, [1; 5]);
        assert_eq!(gathered, [vec![0; 4], vec![1; 5], vec![2; 6]]);
    }
}

#[test]
fn g30_a_rank_that_does_not_come_is_named_in_time() {
    let mut world = Threads::world(3, Duration::from_millis(50));
    let absent = world.pop().unwrap();
    let errors: Vec<CollectiveError> = thread::scope(|scope| {
        let wait = |rank: Threads| {
            scope.spawn(move || {
                let error = rank.barrier().unwrap_err();
                (error, rank)
            })
        };
        let handles: Vec<_> = world.into_iter().map(wait).collect();
        let ended: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        ended.into_iter().map(|(error, _)| error).collect()
    });
    assert_eq!(absent.rank(), 2);
    for (rank, error) in errors.iter().enumerate() {
        assert!(matches!(error, CollectiveError::Missing { missing, .. } if missing == &[2]));
        let text = format!("barrier: rank 2 did not answer rank {rank} within 0.05 s");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

#[test]
fn g30_a_rank_that_dies_ends_the_others_at_once() {
    let world = Threads::world(2, Duration::from_secs(3600));
    let mut world = world.into_iter();
    let (first, second) = (world.next().unwrap(), world.next().unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(move || first.barrier().unwrap_err());
        drop(second);
        let error = waiting.join().unwrap();
        assert_eq!(error, CollectiveError::Left { operation: "barrier", left: 1 });
    });
}

#[test]
fn ranks_that_are_out_of_step_are_told() {
    let errors = all(2, |ranks| match ranks.rank() {
        0 => ranks.gather("one", &[]).unwrap_err(),
        _ => ranks.gather("other", &[]).unwrap_err(),
    });
    assert_eq!(errors[0].to_string(), "one: rank 1 is at \"other\", the ranks are out of step");
    let errors =
        all(2, |ranks| ranks.sum(&mut vec![0.0; 3 + ranks.rank()], Wire::F32).unwrap_err());
    assert_eq!(errors[0].to_string(), "sum: rank 1 gave 16 bytes, expected 12");
}

#[test]
fn g30_ranks_with_another_recipe_are_named_on_every_rank() {
    let errors = all(3, |ranks| {
        let recipe = if ranks.rank() == 2 { "b" } else { "a" };
        agree(ranks, &[("program", "1".into()), ("recipe", recipe.into())]).unwrap_err()
    });
    for error in errors {
        assert_eq!(error.to_string(), "rank 2 has another recipe than rank 0: b, expected a");
    }
    assert!(all(3, |ranks| agree(ranks, &[("recipe", "a".into())])).iter().all(Result::is_ok));
}

#[test]
fn g30_every_number_of_a_queue_is_drawn_once_whoever_is_fast() {
    for (size, length) in [(2, 0), (2, 9), (3, 40)] {
        let drawn = all(size, |ranks| {
            let mut all = Vec::new();
            // The second queue is open for those that have left the first.
            for name in [0, 1, 0] {
                let mut queue = Queue::new(ranks, name, length);
                let mut own = Vec::new();
                while let Some(number) = queue.draw().unwrap() {
                    own.push(number);
                    thread::sleep(Duration::from_millis(ranks.rank() as u64));
                }
                all.push(own);
                if name == 1 {
                    ranks.barrier().unwrap();
                }
            }
            all
        });
        for queue in 0..3 {
            let mut together: Vec<_> = drawn.iter().flat_map(|own| own[queue].clone()).collect();
            together.sort_unstable();
            assert_eq!(together, (0..length).collect::<Vec<_>>(), "{size} ranks, queue {queue}");
        }
    }
}

#[test]
fn g30_a_world_of_one_draws_all_numbers_in_order() {
    let mut queue = Queue::new(&Solo, 0, 3);
    let drawn: Vec<_> = std::iter::from_fn(|| queue.draw().unwrap()).collect();
    assert_eq!(drawn, [0, 1, 2]);
}
