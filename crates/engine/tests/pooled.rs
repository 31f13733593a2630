//! Group G30: batch norms whose statistics are those of several ranks, against one network over the whole batch.
//!
//! Tolerances as in G10 for f32: the ranks' order of sums is another. In bf16 one rounding of 8 bits may turn out otherwise
//! and is carried on by the layers behind it.

mod support;

use engine::{Engine, Logits, MomentPool, PoolError, Precision, Recording, Wants};
use network::{Activation, Architecture, Domains, Moments, Network, NormChoice, Pass, Shape};
use std::sync::{Barrier, Mutex};
use std::thread;
use support::*;

/// Images of each rank; one has none.
const SHARES: [usize; 3] = [4, 0, 5];
const COUNT: usize = 9;

/// Where threads meet.
struct Table {
    barrier: Barrier,
    told: Mutex<Vec<Vec<f64>>>,
}

struct Seat<'a> {
    table: &'a Table,
    rank: usize,
}

impl MomentPool for Seat<'_> {
    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>, PoolError> {
        self.table.told.lock().unwrap()[self.rank] = own.to_vec();
        self.table.barrier.wait();
        let all = self.table.told.lock().unwrap().clone();
        self.table.barrier.wait();
        Ok(all)
    }
}

fn network() -> Network {
    let named = Architecture::named("resnet8-cifar-w4").expect("a known name");
    let (norm, activation) = (NormChoice::MIXTURE, Activation::Silu);
    let input = Shape::new(3, 8, 8);
    let architecture = Architecture { norm, activation, classes: 3, input, ..named };
    randomized(architecture.graph().expect("a graph"), 1)
}

/// What one rank gets: logits, moments, and its part of the gradient.
type Part = (Logits, Moments, Vec<Vec<f32>>);

fn on_ranks(network: &Network, precision: Precision, pass: &Pass) -> Vec<Part> {
    let (pixels, upstream) = (images(network, COUNT, 5), weights_of_logits(COUNT, 6));
    let told = Mutex::new(vec![Vec::new(); SHARES.len()]);
    let table = Table { barrier: Barrier::new(SHARES.len()), told };
    let work = |rank: usize| {
        let first: usize = SHARES[..rank].iter().sum();
        let own = first..first + SHARES[rank];
        let length = network.graph.input.len();
        let pixels = &pixels[own.start * length..own.end * length];
        let domains = match &pass.domains {
            Domains::All(domain) => Domains::All(*domain),
            Domains::PerImage(all) => Domains::PerImage(all[own.clone()].to_vec()),
        };
        let (engine, seat) = (engine(1).training_in(precision), Seat { table: &table, rank });
        let pass = Pass { domains, ..pass.clone() };
        let (logits, recording) =
            engine.record_pooled(network, view(network, pixels), &pass, &seat).unwrap();
        let classes = upstream.classes;
        let values = upstream.values[own.start * classes..own.end * classes].to_vec();
        let upstream = Logits { count: own.len(), classes, values };
        let mut gradient = vec![Vec::new(); network.parameters.len()];
        let mut take = |id: network::ParameterId, found| gradient[id.0] = found;
        engine.backward_pooled(network, &recording, &upstream, &seat, &mut take).unwrap();
        (logits, recording.moments().clone(), gradient)
    };
    thread::scope(|scope| {
        let work = &work;
        let spawn = |rank| scope.spawn(move || work(rank));
        let threads: Vec<_> = (0..SHARES.len()).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn sum(parts: &[Part]) -> Vec<Vec<f64>> {
    let mut sums: Vec<Vec<f64>> = parts[0].2.iter().map(|one| vec![0.0; one.len()]).collect();
    for (_, _, gradient) in parts {
        for (sum, one) in sums.iter_mut().zip(gradient) {
            sum.iter_mut().zip(one).for_each(|(sum, &x)| *sum += f64::from(x));
        }
    }
    sums
}

fn batch_passes(network: &Network) -> impl Iterator<Item = Pass> {
    let all = passes(network.graph.domains, COUNT).into_iter();
    all.filter(|pass| pass.statistics == network::Statistics::Batch)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn g30_ranks_that_share_their_batch_norms_compute_what_one_does_over_the_whole_batch() {
    let network = network();
    for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 3e-2)] {
        for pass in batch_passes(&network) {
            let pixels = images(&network, COUNT, 5);
            let one = engine(2).training_in(precision);
            let (logits, recording) = one.record(&network, view(&network, &pixels), &pass).unwrap();
            let upstream = weights_of_logits(COUNT, 6);
            let whole = one.backward(&network, &recording, &upstream, Wants::Parameters).unwrap();
            let parts = on_ranks(&network, precision, &pass);
            let together: Vec<f32> = parts.iter().flat_map(|part| part.0.values.clone()).collect();
            let error = distance(&wide(&together), &wide(&logits.values));
            assert!(error < tolerance, "{precision:?} {pass:?}: logits are off by {error:e}");
            for (index, sum) in sum(&parts).iter().enumerate() {
                let error = distance(sum, &wide(&whole.parameters[index]));
                assert!(error < tolerance, "{precision:?} {pass:?}: {index} is off by {error:e}");
            }
            for (_, moments, _) in &parts {
                assert_eq!(moments, &parts[0].1, "every rank absorbs the same");
                for (found, expected) in moments.layers.iter().zip(&recording.moments().layers) {
                    assert_eq!((found.node, found.count), (expected.node, expected.count));
                    let error = distance(&found.mean, &expected.mean);
                    assert!(error < tolerance, "{precision:?}: a mean is off by {error:e}");
                }
            }
        }
    }
}

/// Against central differences of an f64 interpreter over the whole batch, as G10.
#[test]
fn g30_gradients_through_shared_batch_norms_agree_with_finite_differences() {
    const STEP: f64 = 1e-6;
    let network = network();
    for pass in batch_passes(&network) {
        let found = sum(&on_ranks(&network, Precision::F32, &pass));
        let pixels = wide(&images(&network, COUNT, 5));
        let upstream = weights_of_logits(COUNT, 6);
        let mut values = reference::widen(&network);
        for (index, gradient) in found.iter().enumerate().filter(|(_, g)| !g.is_empty()) {
            let skip = gradient.len().div_ceil(4);
            let (mut by_ranks, mut by_difference) = (Vec::new(), Vec::new());
            for entry in (0..gradient.len()).step_by(skip) {
                let before = values[index][entry];
                let mut loss = |by: f64| -> f64 {
                    values[index][entry] = before + by;
                    let logits = reference::logits(&network, &values, &pixels, COUNT, &pass);
                    logits.iter().zip(&upstream.values).map(|(z, &w)| z * f64::from(w)).sum()
                };
                by_difference.push((loss(STEP) - loss(-STEP)) / (2.0 * STEP));
                values[index][entry] = before;
                by_ranks.push(gradient[entry]);
            }
            let error = distance(&by_ranks, &by_difference);
            assert!(error < 1e-4, "{pass:?}: parameter {index} is off by {error:e}");
        }
    }
}
