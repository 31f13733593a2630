//! One attack on all images the protocol lets it see: proposals, checks, verdicts.

use super::evaluator::{Evaluator, Observer, Protocol, read, stream};
use super::{AttackReport, EvaluateError, Examples, Proportion, Verdict, check, judge};
use crate::attack::{Attack, Passes};
use crate::image::Batch;
use crate::victim::perturb_in_tiles;
use engine::Frozen;

/// What an attack works on.
pub(super) struct Context<'a, A, J> {
    /// The network the attack sees.
    pub attacked: &'a A,
    /// The network that is judged.
    pub judged: &'a J,
    /// The images,
    pub examples: &'a dyn Examples,
    /// of which these are judged; verdicts are in the same order.
    pub positions: &'a [usize],
}

/// What the judge says of the images of one search.
struct Judged {
    predictions: Vec<u32>,
    targets: Option<Vec<u32>>,
    norms: Vec<f64>,
    restarts: Vec<u32>,
}

impl Evaluator {
    /// Enters what `attack` does into the verdicts and says how it fared.
    ///
    /// In the worst case restarts are judged one by one, each on the images where the attack has not yet had what it
    /// wants: what counts is what the judge says, not what the attacked network said. In the paper's protocol the
    /// attack's own choice counts.
    pub(super) fn under(
        &self,
        attack: &dyn Attack,
        context: &Context<'_, impl Frozen, impl Frozen>,
        verdicts: &mut [Verdict],
        observer: &mut dyn Observer,
    ) -> Result<AttackReport, EvaluateError> {
        let name = attack.name();
        let seconds = observer.seconds();
        let open: Vec<usize> = match self.protocol {
            Protocol::WorstCase => (0..verdicts.len())
                .filter(|&position| verdicts[position].broken_by.is_none())
                .collect(),
            Protocol::Paper => (0..verdicts.len()).collect(),
        };
        let restarts = match self.protocol {
            Protocol::WorstCase => attack.restarts(),
            Protocol::Paper => None,
        };
        let (search, rounds) = match &restarts {
            Some(restarts) => (&*restarts.single, restarts.count),
            None => (attack, 1),
        };
        observer.begin(&name, open.len());
        let mut passes = Passes::default();
        let (mut right, mut successes) = (0, 0);
        for chunk in open.chunks(self.batch_size) {
            let chosen: Vec<usize> = chunk.iter().map(|&open| context.positions[open]).collect();
            let batch = read(context.examples, &chosen, context.judged.classes())?;
            let mut is_right = vec![true; chunk.len()];
            let mut standing: Vec<usize> = (0..chunk.len()).collect();
            for restart in 0..rounds {
                if standing.is_empty() {
                    break;
                }
                let some = batch.select(&standing);
                let judged = self.search(&name, search, context, &some, restart, &mut passes)?;
                let mut unreached = Vec::with_capacity(standing.len());
                for (row, &position) in standing.iter().enumerate() {
                    let verdict = &mut verdicts[chunk[position]];
                    let still_right = judged.enter(row, &name, verdict);
                    is_right[position] &= still_right;
                    let reached = match &judged.targets {
                        Some(targets) => judged.predictions[row] == targets[row],
                        None => !still_right,
                    };
                    if reached {
                        successes += 1;
                    } else {
                        unreached.push(position);
                    }
                }
                standing = unreached;
            }
            let still_right = is_right.into_iter().filter(|&right| right).count();
            right += still_right;
            observer.judged(chunk.len(), still_right);
        }
        let robust = Proportion { count: right, total: verdicts.len() };
        Ok(AttackReport {
            name,
            robust_accuracy: robust.share(),
            ci95: robust.wilson95(),
            success_rate: Proportion { count: successes, total: open.len() }.share(),
            attacked: open.len(),
            forward_passes: passes.forward,
            backward_passes: passes.backward,
            seconds: observer.seconds() - seconds,
        })
    }

    /// One search over some images: proposed, checked and judged, with the work added to `passes`.
    fn search(
        &self,
        name: &str,
        search: &dyn Attack,
        context: &Context<'_, impl Frozen, impl Frozen>,
        batch: &Batch,
        restart: u32,
        passes: &mut Passes,
    ) -> Result<Judged, EvaluateError> {
        let (perturbed, spent) =
            perturb_in_tiles(context.attacked, search, batch, &stream(self.seed, restart))?;
        let norms = check::proposal(name, &self.threat, batch, &perturbed)?;
        let predictions = judge(context.judged, &perturbed.images, batch)?;
        passes.forward += spent.forward + batch.images.count as u64;
        passes.backward += spent.backward;
        let (targets, restarts) = (perturbed.targets, perturbed.restarts);
        Ok(Judged { predictions, targets, norms, restarts })
    }
}

impl Judged {
    /// Enters the judge's word on image `row` into its verdict; whether it is still right.
    ///
    /// An image is broken if and only if the judge is wrong about the checked image, whatever the attack claims. The
    /// first to break it is remembered.
    fn enter(&self, row: usize, attack: &str, verdict: &mut Verdict) -> bool {
        let prediction = self.predictions[row];
        if prediction == verdict.label {
            return true;
        }
        if verdict.broken_by.is_none() {
            verdict.broken_by = Some(attack.to_string());
            verdict.prediction = prediction;
            verdict.norm = Some(self.norms[row]);
            verdict.restart = Some(self.restarts[row]);
        }
        false
    }
}
