//! FAB: the nearest adversarial image, by projections onto the linearised boundary.
//!
//! `walk` holds one image's steps.

mod walk;

use super::ask::gradients;
use super::border::on_border;
use super::check::{COMPACTED_TILES, check_batch};
use super::loss::{AttackLoss, margin};
use super::minimal::{Closest, MinimalDistance};
use super::name::numbered;
use super::rounds::{Found, Round, Rounds, by_clean_rank, worst_of_rounds};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Restarts, Victim, prediction};
use crate::image::{Batch, Images};
use crate::threat::ThreatModel;
use serde::{Deserialize, Serialize};
use walk::{Beyond, Walk};

/// Which boundaries FAB walks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FabBoundary {
    /// The nearest of all at every step, which takes a gradient per class: `fab`.
    Nearest,
    /// That towards one class after the other, so many of the likeliest on the clean image: `fab-t`.
    Targets(u32),
}

/// What a FAB attack is, as plain data; [`Fab::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FabSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// Which boundaries are walked to.
    pub boundary: FabBoundary,
    /// Steps of a walk.
    pub steps: usize,
    /// Walks per image, and per target where there are several; the first begins at the image.
    pub restarts: u32,
}

/// The fast adaptive boundary attack: minimal distances, and what lies within epsilon among them.
///
/// As an attack an image leaves as soon as something within epsilon is found; [`MinimalDistance::closest`] walks on.
/// Source: Croce & Hein 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack", algorithm 1;
/// constants as there and in AutoAttack.
#[derive(Clone, Debug, PartialEq)]
pub struct Fab {
    settings: FabSettings,
    rounds: Rounds,
    name: String,
}

/// Steps of the final search. Source: Croce & Hein 2020, section 2.4.
const FINAL_STEPS: u32 = 3;
/// As an attack, only what lies this near to epsilon can still come within it by the final search.
const REFINED: f64 = 1.1;

/// When an image's walk ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    /// As soon as something this near is found.
    Within(f64),
    /// After all steps.
    Steps,
}

impl Fab {
    /// Steps of a walk where nothing is said, as in AutoAttack.
    pub const STEPS: usize = 100;
    /// Classes that `fab-t` tries, as in AutoAttack.
    pub const TARGETS: u32 = 9;

    /// FAB with these settings, named `fab` or `fab-t`, with steps and restarts where they are not 100 and 1.
    ///
    /// Errors: `Setting` for no restart or no target.
    pub fn new(settings: FabSettings) -> Result<Self, AttackError> {
        let kind = match settings.boundary {
            FabBoundary::Nearest => "fab",
            FabBoundary::Targets(_) => "fab-t",
        };
        let name = numbered(kind, (settings.steps, Self::STEPS), settings.restarts);
        let setting = match (settings.restarts, settings.boundary) {
            (0, _) => "restarts",
            (_, FabBoundary::Targets(0)) => "targets",
            _ => return Ok(Self { settings, rounds: Rounds::All, name }),
        };
        let (found, expected) = ("0".to_owned(), "at least 1");
        Err(AttackError::Setting { attack: name, setting, found, expected })
    }

    /// What was asked for.
    pub fn settings(&self) -> &FabSettings {
        &self.settings
    }

    fn aims(&self, victim: &mut dyn Victim, batch: &Batch) -> Result<Vec<Aims>, AttackError> {
        match self.settings.boundary {
            FabBoundary::Targets(targets) => {
                by_clean_rank(AttackLoss::Margin, targets, victim, batch)
            }
            FabBoundary::Nearest => Ok(vec![Aims::away(AttackLoss::Margin, batch.labels.clone())]),
        }
    }

    /// One walk of each image of `batch`: the nearest found, and how far it is.
    fn search(
        &self,
        victim: &mut dyn Victim,
        (batch, aims): (&Batch, &Aims),
        stream: &AttackStream,
        round: Round,
        until: Until,
    ) -> Result<Vec<Option<Beyond>>, AttackError> {
        let (norm, epsilon) = (self.settings.threat.norm(), self.settings.threat.epsilon().value());
        let each = 0..batch.images.count;
        let mut walks: Vec<Walk<'_>> = each
            .map(|position| {
                let origin = batch.images.one(position);
                // Further restarts begin at half of epsilon. Source: the authors' code.
                let start = match round.restart {
                    0 => origin.to_vec(),
                    _ => on_border(norm, 0.5 * epsilon, batch, position, stream, round.number),
                };
                Walk::new(norm, origin, start)
            })
            .collect();
        let mut standing: Vec<usize> = (0..batch.images.count).collect();
        let leave = |walks: &[Walk<'_>], standing: &mut Vec<usize>| {
            if let Until::Within(epsilon) = until {
                let is_near = |walk: &Walk<'_>| {
                    walk.nearest.as_ref().is_some_and(|nearest| nearest.distance <= epsilon)
                };
                standing.retain(|&position| !is_near(&walks[position]));
            }
        };
        for step in 0..self.settings.steps {
            // Who has crossed the boundary once crosses it with most steps, and then needs a gradient elsewhere: looking
            // first costs a forward only. The others learn from their gradient's own forward whether they crossed.
            let likely =
                |position: &usize| walks[*position].nearest.is_some() && !walks[*position].is_known;
            let first: Vec<usize> = standing.iter().copied().filter(likely).collect();
            look(victim, (batch, aims), &mut walks, &first)?;
            leave(&walks, &mut standing);
            let crossed = self.slopes(step, victim, (batch, aims), &mut walks, &standing)?;
            leave(&walks, &mut standing);
            let again: Vec<usize> =
                crossed.into_iter().filter(|position| standing.contains(position)).collect();
            self.slopes(step, victim, (batch, aims), &mut walks, &again)?;
            standing.iter().for_each(|&position| walks[position].step());
        }
        look(victim, (batch, aims), &mut walks, &standing)?;
        leave(&walks, &mut standing);
        let may_gain = |nearest: &Beyond| match until {
            Until::Within(epsilon) => nearest.distance <= REFINED * epsilon,
            Until::Steps => nearest.distance > 0.0,
        };
        standing.retain(|&position| walks[position].nearest.as_ref().is_some_and(may_gain));
        final_search(victim, batch, &mut walks, &standing)?;
        Ok(walks.into_iter().map(|walk| walk.nearest).collect())
    }

    /// Takes the boundaries at the points of the walks at `positions`; the positions of those that turn out to lie beyond,
    /// and have gone back, so that they must ask again.
    fn slopes(
        &self,
        step: usize,
        victim: &mut dyn Victim,
        (batch, aims): (&Batch, &Aims),
        walks: &mut [Walk<'_>],
        positions: &[usize],
    ) -> Result<Vec<usize>, AttackError> {
        let mut positions = positions.to_vec();
        let mut crossed = Vec::new();
        positions.iter().for_each(|&position| walks[position].look_anew());
        let rivals = match self.settings.boundary {
            FabBoundary::Targets(_) => 1,
            FabBoundary::Nearest => victim.classes().saturating_sub(1),
        };
        for rival in 0..rivals {
            if positions.is_empty() {
                break;
            }
            let towards = match self.settings.boundary {
                FabBoundary::Targets(_) => aims.select(&positions),
                FabBoundary::Nearest => {
                    let labels: Vec<u32> = positions.iter().map(|&p| batch.labels[p]).collect();
                    let other = |&label: &u32| rival as u32 + u32::from(rival as u32 >= label);
                    let rivals = labels.iter().map(other).collect();
                    Aims::between(AttackLoss::Margin, labels, rivals)
                }
            };
            let points = points(batch, walks, &positions);
            let index = |row: usize| batch.indices[positions[row]];
            let mut by_logits = |row: usize, logits: &[f32], out: &mut [f64]| {
                towards.add_gradient(row, logits, out);
            };
            let (logits, gradient) =
                gradients(&self.name, step, victim, &points, index, &mut by_logits)?;
            let mut row = 0;
            positions.retain(|&position| {
                let (walk, score) = (&mut walks[position], towards.score(row, logits.row(row)));
                if !walk.is_known {
                    let margin = margin(logits.row(row), batch.labels[position]);
                    walk.settle(score.reached, margin);
                    if score.reached {
                        crossed.push(position);
                    }
                }
                let stays = crossed.last() != Some(&position);
                if stays {
                    walk.offer(score.gain, gradient.one(row));
                }
                row += 1;
                stays
            });
        }
        Ok(crossed)
    }
}

/// Asks what the victim sees where the walks at `positions` are.
fn look(
    victim: &mut dyn Victim,
    (batch, aims): (&Batch, &Aims),
    walks: &mut [Walk<'_>],
    positions: &[usize],
) -> Result<(), AttackError> {
    if positions.is_empty() {
        return Ok(());
    }
    let logits = victim.logits(&points(batch, walks, positions))?;
    for (row, &position) in positions.iter().enumerate() {
        let margin = margin(logits.row(row), batch.labels[position]);
        walks[position].settle(aims.score(position, logits.row(row)).reached, margin);
    }
    Ok(())
}

/// Draws the nearest points found by the walks at `positions` back along the line to the image, to where it crosses the
/// boundary: the steps before leave them up to a twentieth of their last step beyond.
///
/// Source: Croce & Hein 2020, section 2.4, "final search"; the AutoAttack code leaves it out.
fn final_search(
    victim: &mut dyn Victim,
    batch: &Batch,
    walks: &mut [Walk<'_>],
    positions: &[usize],
) -> Result<(), AttackError> {
    if positions.is_empty() {
        return Ok(());
    }
    let logits = victim.logits(&batch.images.select(positions))?;
    for (row, &position) in positions.iter().enumerate() {
        let margin = margin(logits.row(row), batch.labels[position]);
        walks[position].begin_final_search(margin);
    }
    for _ in 0..FINAL_STEPS {
        let mut pixels = Vec::with_capacity(positions.len() * batch.images.shape.len());
        positions.iter().for_each(|&position| walks[position].try_between(&mut pixels));
        let points = Images { count: positions.len(), shape: batch.images.shape, pixels };
        let logits = victim.logits(&points)?;
        for (row, &position) in positions.iter().enumerate() {
            let (answer, label) = (logits.row(row), batch.labels[position]);
            let is_beyond = prediction(answer) != label;
            walks[position].refine(points.one(row), is_beyond, margin(answer, label));
        }
    }
    Ok(())
}

fn points(batch: &Batch, walks: &[Walk<'_>], positions: &[usize]) -> Images {
    let mut pixels = Vec::with_capacity(positions.len() * batch.images.shape.len());
    positions.iter().for_each(|&position| pixels.extend_from_slice(&walks[position].point));
    Images { count: positions.len(), shape: batch.images.shape, pixels }
}

impl Attack for Fab {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        let aims = self.aims(victim, batch)?;
        let epsilon = f64::from(self.settings.threat.epsilon().value());
        let rounds = self.rounds.plan(aims.len(), self.settings.restarts, stream);
        worst_of_rounds((victim, batch), (aims, rounds), &mut |victim, batch, aims, round| {
            let until = Until::Within(epsilon);
            let nearest = self.search(victim, (batch, aims), stream, round, until)?;
            let found = nearest.into_iter().enumerate().map(|(position, nearest)| match nearest {
                Some(Beyond { point, distance, .. }) if distance <= epsilon => {
                    Found { point, reached: true, loss: -distance }
                }
                // What lies outside the ball is no proposal.
                _ => {
                    let point = batch.images.one(position).to_vec();
                    Found { point, reached: false, loss: f64::NEG_INFINITY }
                }
            });
            Ok(found.collect())
        })
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn minimal(&self) -> Option<&dyn MinimalDistance> {
        Some(self)
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let FabSettings { threat, boundary, steps, restarts } = &self.settings;
        let boundary = match boundary {
            FabBoundary::Nearest => "nearest".to_owned(),
            FabBoundary::Targets(targets) => format!("{targets} targets"),
        };
        vec![
            ("boundary", boundary),
            ("epsilon", threat.epsilon().written().to_owned()),
            ("restarts", restarts.to_string()),
            ("steps", steps.to_string()),
        ]
    }

    fn restarts(&self) -> Option<Restarts> {
        let targets = match self.settings.boundary {
            FabBoundary::Targets(targets) => targets,
            FabBoundary::Nearest => 1,
        };
        let count = targets * self.settings.restarts;
        let single = Self { rounds: Rounds::Streams, ..self.clone() };
        (count > 1).then(|| Restarts { single: Box::new(single), count })
    }
}

impl MinimalDistance for Fab {
    fn closest(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Closest, AttackError> {
        check_batch(victim, batch)?;
        let aims = self.aims(victim, batch)?;
        let mut least: Vec<Option<Beyond>> = vec![None; batch.images.count];
        for round in self.rounds.plan(aims.len(), self.settings.restarts, stream) {
            let context = (batch, round.of(&aims));
            let found = self.search(victim, context, stream, round, Until::Steps)?;
            for (least, found) in least.iter_mut().zip(found) {
                let Some(found) = found else { continue };
                if least.as_ref().is_none_or(|least| found.distance < least.distance) {
                    *least = Some(found);
                }
            }
        }
        let least = least.into_iter().map(|least| least.map(|least| (least.point, least.distance)));
        Ok(Closest::of(least, batch))
    }
}
