//! APGD: projected gradient ascent that chooses its own step, the strongest white-box part of AutoAttack.
//!
//! `ascent` holds one image's climb in Linf and L2, `sparse` the one in L1, `climb` the loop they share.

mod ascent;
mod climb;
mod schedule;
mod sparse;

use super::border::on_border;
use super::check::{COMPACTED_TILES, check_batch, check_classes};
use super::loss::AttackLoss;
use super::name::numbered;
use super::pgd::goal_prefix;
use super::rounds::{Found, Rounds, by_clean_rank, worst_of_rounds};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Restarts, Victim};
use crate::image::Batch;
use crate::threat::{Goal, Norm, Range, ThreatModel, project};
use ascent::Ascent;
use climb::{OnSuccess, climb};
use schedule::{intervals, radii};
use serde::{Deserialize, Serialize};
use sparse::Sparse;

/// What APGD raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApgdLoss {
    /// Cross-entropy: `apgd-ce`.
    CrossEntropy,
    /// The difference of logits ratio: `apgd-dlr`.
    Dlr,
    /// The ratio towards one class after the other, so many of the likeliest on the clean image: `apgd-t`.
    TargetedDlr {
        /// How many classes.
        targets: u32,
    },
}

/// What an APGD attack is, as plain data; [`Apgd::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApgdSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// What is wanted.
    pub goal: Goal,
    /// What is raised.
    pub loss: ApgdLoss,
    /// Gradient steps per climb.
    pub steps: usize,
    /// Climbs per image, and per target where there are several.
    pub restarts: u32,
}

/// Auto-PGD: momentum steps whose length halves where they no longer pay.
///
/// An image leaves as soon as the victim gets it wrong. In L1 steps are sparse, and the radius shrinks to epsilon from
/// three times as much.
/// Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
/// attacks", algorithm 1; L1: Croce & Hein 2021, "Mind the box".
#[derive(Clone, Debug, PartialEq)]
pub struct Apgd {
    settings: ApgdSettings,
    name: String,
    rounds: Rounds,
}

impl Apgd {
    /// Steps of a climb where nothing is said, as in AutoAttack.
    pub const STEPS: usize = 100;
    /// Restarts of `apgd-ce` in AutoAttack plus, and in L1.
    pub const MORE_RESTARTS: u32 = 5;

    /// APGD with these settings, named `apgd-LOSS`, with steps and restarts where they are not 100 and 1.
    ///
    /// Errors: `Setting` for no restart, no target, or a targeted goal on a loss that has targets of its own.
    pub fn new(settings: ApgdSettings) -> Result<Self, AttackError> {
        let kind = match settings.loss {
            ApgdLoss::CrossEntropy => "apgd-ce",
            ApgdLoss::Dlr => "apgd-dlr",
            ApgdLoss::TargetedDlr { .. } => "apgd-t",
        };
        let kind = format!("{}{kind}", goal_prefix(settings.goal));
        let name = numbered(&kind, (settings.steps, Self::STEPS), settings.restarts);
        let wrong = |setting, found: &str, expected| {
            let (attack, found) = (name.clone(), found.to_owned());
            Err(AttackError::Setting { attack, setting, found, expected })
        };
        let has_targets = matches!(settings.loss, ApgdLoss::TargetedDlr { .. });
        if settings.restarts == 0 {
            return wrong("restarts", "0", "at least 1");
        } else if settings.loss == (ApgdLoss::TargetedDlr { targets: 0 }) {
            return wrong("targets", "0", "at least 1");
        } else if has_targets && settings.goal != Goal::Untargeted {
            return wrong("goal", "targeted", "untargeted, since this loss has its own targets");
        }
        Ok(Self { settings, name, rounds: Rounds::All })
    }

    /// How many classes `apgd-t` tries where nothing is said: 9, in L1 5, as in AutoAttack.
    pub fn targets_in(norm: Norm) -> u32 {
        match norm {
            Norm::Linf | Norm::L2 => 9,
            Norm::L1 => 5,
        }
    }

    /// What was asked for.
    pub fn settings(&self) -> &ApgdSettings {
        &self.settings
    }

    fn targets(&self) -> u32 {
        match self.settings.loss {
            ApgdLoss::TargetedDlr { targets } => targets,
            ApgdLoss::CrossEntropy | ApgdLoss::Dlr => 1,
        }
    }

    /// One climb of each image of `batch`.
    fn search(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        aims: &Aims,
        stream: &AttackStream,
        round: u32,
    ) -> Result<Vec<Found>, AttackError> {
        let (norm, epsilon) = (self.settings.threat.norm(), self.settings.threat.epsilon().value());
        let each = 0..batch.images.count;
        if norm == Norm::L1 {
            return self.sparse_search(victim, batch, aims, stream, round);
        }
        let climbs = each.map(|position| {
            let start = on_border(norm, epsilon, batch, position, stream, round);
            Ascent::new(norm, epsilon, batch.images.one(position), start)
        });
        let steps = self.settings.steps;
        let (climbs, every) = (climbs.collect(), intervals(steps));
        climb(&self.name, victim, (batch, aims), climbs, steps, every, OnSuccess::Leave)
    }

    /// One climb through three radii; each begins where the one before was best.
    fn sparse_search(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        aims: &Aims,
        stream: &AttackStream,
        round: u32,
    ) -> Result<Vec<Found>, AttackError> {
        let epsilon = self.settings.threat.epsilon().value();
        let mut summits: Vec<Found> = Vec::new();
        for (stage, (factor, steps)) in radii(self.settings.steps).into_iter().enumerate() {
            let radius = factor * epsilon;
            let each = 0..batch.images.count;
            let climbs = each.map(|position| {
                let origin = batch.images.one(position);
                let point = if stage == 0 {
                    on_border(Norm::L1, radius, batch, position, stream, round)
                } else {
                    let mut point = std::mem::take(&mut summits[position].point);
                    project(Norm::L1, &mut point, origin, radius, Range::Pixels);
                    point
                };
                Sparse::new(radius, origin, point)
            });
            let climbs = climbs.collect();
            let on_success = if stage == 2 { OnSuccess::Leave } else { OnSuccess::Ignore };
            // A checkpoint every .04 N steps. Source: the authors' code.
            let every = std::iter::repeat((4 * steps / 100).max(1));
            summits = climb(&self.name, victim, (batch, aims), climbs, steps, every, on_success)?;
        }
        Ok(summits)
    }
}

impl Attack for Apgd {
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
        let (loss, needed) = match self.settings.loss {
            ApgdLoss::CrossEntropy => (AttackLoss::CrossEntropy, 1),
            ApgdLoss::Dlr => (AttackLoss::Dlr, 3),
            ApgdLoss::TargetedDlr { .. } => (AttackLoss::Dlr, 4),
        };
        check_classes(&self.name, victim, needed)?;
        let aims = match self.settings.loss {
            ApgdLoss::TargetedDlr { targets } => by_clean_rank(loss, targets, victim, batch)?,
            _ => vec![Aims::resolve(self.settings.goal, loss, victim, batch, stream)?],
        };
        let rounds = self.rounds.plan(aims.len(), self.settings.restarts, stream);
        worst_of_rounds((victim, batch), (aims, rounds), &mut |victim, batch, aims, round| {
            self.search(victim, batch, aims, stream, round.number)
        })
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let ApgdSettings { threat, goal, loss, steps, restarts } = &self.settings;
        let (loss, targets) = match loss {
            ApgdLoss::CrossEntropy => (AttackLoss::CrossEntropy, None),
            ApgdLoss::Dlr => (AttackLoss::Dlr, None),
            ApgdLoss::TargetedDlr { targets } => (AttackLoss::Dlr, Some(targets)),
        };
        let mut resolved = vec![
            ("epsilon", threat.epsilon().written().to_owned()),
            ("goal", goal.to_string()),
            ("loss", loss.to_string()),
            ("restarts", restarts.to_string()),
            ("steps", steps.to_string()),
        ];
        resolved.extend(targets.map(|targets| ("targets", targets.to_string())));
        resolved
    }

    fn restarts(&self) -> Option<Restarts> {
        let count = self.targets() * self.settings.restarts;
        let single = Self { rounds: Rounds::Streams, ..self.clone() };
        (count > 1).then(|| Restarts { single: Box::new(single), count })
    }
}
