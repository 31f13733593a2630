//! The loop that all climbs share: a gradient for every image still standing, a step, and a look back at checkpoints.

use crate::attack::ask::gradients;
use crate::attack::rounds::Found;
use crate::attack::{Aims, AttackError, Victim};
use crate::image::{Batch, Images};

/// The state of one image's climb.
pub trait Climb {
    /// Where it is.
    fn point(&self) -> &[f32];
    /// Takes loss and gradient of the start.
    fn begin(&mut self, loss: f64, gradient: &[f32]);
    /// Moves.
    fn step(&mut self);
    /// Takes loss and gradient of the point that the step led to.
    fn learn(&mut self, loss: f64, gradient: &[f32]);
    /// Looks back on the interval that ends here.
    fn check(&mut self, interval: usize);
    /// The best point, and its loss.
    fn into_best(self) -> (Vec<f32>, f64);
}

/// Whether an image leaves the climb as soon as its aim is reached.
///
/// The authors' code climbs on and keeps the last point that the network got wrong. Who only asks whether there is one
/// need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSuccess {
    /// It leaves.
    Leave,
    /// It climbs on, and success does not count: a radius that is not the threat's.
    Ignore,
}

/// Takes each image of `batch` through `steps` steps and says where it ended.
///
/// `intervals` are the steps between checkpoints. Images that have left are not asked about again: the others move
/// together, so that the victim's tiles stay full.
pub fn climb<C: Climb>(
    attack: &str,
    victim: &mut dyn Victim,
    (batch, aims): (&Batch, &Aims),
    climbs: Vec<C>,
    steps: usize,
    mut intervals: impl Iterator<Item = usize>,
    on_success: OnSuccess,
) -> Result<Vec<Found>, AttackError> {
    let keeps_all = !victim.has_independent_images();
    let mut climbs: Vec<Option<C>> = climbs.into_iter().map(Some).collect();
    let mut summits: Vec<Option<Found>> = vec![None; batch.images.count];
    let mut standing: Vec<usize> = (0..batch.images.count).collect();
    let mut points = Images { count: 0, shape: batch.images.shape, pixels: Vec::new() };
    let mut interval = intervals.next();
    let mut since = 0;
    for step in 0..=steps {
        if standing.is_empty() {
            break;
        }
        points.count = standing.len();
        points.pixels.clear();
        for &position in &standing {
            let climb = climbs[position].as_ref().expect("who stands still climbs");
            points.pixels.extend_from_slice(climb.point());
        }
        let index = |row: usize| batch.indices[standing[row]];
        let mut by_logits = |row: usize, logits: &[f32], out: &mut [f64]| {
            aims.add_gradient(standing[row], logits, out);
        };
        let (logits, gradient) = gradients(attack, step, victim, &points, index, &mut by_logits)?;
        since += usize::from(step > 0);
        let is_checkpoint = interval == Some(since);
        let mut row = 0;
        let mut failed = None;
        standing.retain(|&position| {
            let score = aims.score(position, logits.row(row));
            let here = points.one(row);
            let slope = gradient.one(row);
            row += 1;
            if score.gain.is_nan() {
                failed.get_or_insert(batch.indices[position]);
                return false;
            }
            if score.reached && on_success == OnSuccess::Leave && summits[position].is_none() {
                let point = here.to_vec();
                summits[position] = Some(Found { point, reached: true, loss: score.gain });
                if !keeps_all {
                    climbs[position] = None;
                    return false;
                }
            }
            let climb = climbs[position].as_mut().expect("who stands still climbs");
            if step == 0 {
                climb.begin(score.gain, slope);
            } else {
                climb.learn(score.gain, slope);
            }
            if is_checkpoint {
                climb.check(since);
            }
            if step < steps {
                climb.step();
            }
            true
        });
        if let Some(index) = failed {
            let attack = attack.to_owned();
            return Err(AttackError::NonFinite { attack, step, what: "loss", index });
        }
        if is_checkpoint {
            interval = intervals.next();
            since = 0;
        }
    }
    let ended = climbs.into_iter().zip(summits);
    let ended = ended.map(|(climb, summit)| {
        summit.unwrap_or_else(|| {
            let (point, loss) = climb.expect("who reached nothing still climbs").into_best();
            Found { point, reached: false, loss }
        })
    });
    Ok(ended.collect())
}
