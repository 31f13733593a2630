//! Random noise: the control of every gradient attack.

use super::check::check_batch;
use super::loss::AttackLoss;
use super::pgd::goal_prefix;
use super::start::starting_points;
use super::worst::worst_per_image;
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Restarts, Victim};
use crate::image::Batch;
use crate::threat::{Goal, Range, Start, ThreatModel};

/// Random points of the ball, the worst of several per image: the control that every gradient attack must beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    threat: ThreatModel,
    goal: Goal,
    draws: u32,
}

impl Noise {
    /// How many points are drawn where nothing is said.
    pub const DRAWS: u32 = 10;

    /// The worst of `draws` points.
    ///
    /// Errors: `Setting` if `draws` is 0.
    pub fn new(threat: ThreatModel, goal: Goal, draws: u32) -> Result<Self, AttackError> {
        if draws == 0 {
            let (setting, found, expected) = ("draws", "0".to_owned(), "at least 1");
            let attack = "noise".to_owned();
            return Err(AttackError::Setting { attack, setting, found, expected });
        }
        Ok(Self { threat, goal, draws })
    }
}

impl Attack for Noise {
    fn name(&self) -> String {
        let prefix = goal_prefix(self.goal);
        match self.draws {
            Self::DRAWS => format!("{prefix}noise"),
            draws => format!("{prefix}noise-{draws}"),
        }
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        let aims = Aims::resolve(self.goal, AttackLoss::CrossEntropy, victim, batch, stream)?;
        worst_per_image(
            &self.name(),
            0,
            self.draws,
            (victim, batch, stream),
            aims,
            &mut |_, batch, _, draw| {
                let start = Start::Uniform;
                Ok(starting_points(start, Range::Pixels, &self.threat, batch, stream, draw))
            },
        )
    }

    fn restarts(&self) -> Option<Restarts> {
        let single = Self { draws: 1, ..self.clone() };
        (self.draws > 1).then(|| Restarts { single: Box::new(single), count: self.draws })
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        vec![
            ("draws", self.draws.to_string()),
            ("epsilon", self.threat.epsilon().written().to_owned()),
            ("goal", self.goal.to_string()),
        ]
    }
}
