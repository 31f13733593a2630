//! Square: random search with logits only, in windows that shrink.
//!
//! `hunt` holds one image's search, `window` the changes of L2 and L1, `schedule` how large they are.

mod hunt;
mod schedule;
mod window;

use super::aim::image_key;
use super::check::{COMPACTED_TILES, check_batch};
use super::loss::AttackLoss;
use super::name::numbered;
use super::pgd::goal_prefix;
use super::rounds::{Found, Rounds, worst_of_rounds};
use super::{Aims, Attack, AttackError, AttackStream, Perturbed, Restarts, Victim};
use crate::image::{Batch, Images};
use crate::stream::{Key, Purpose};
use crate::threat::{Goal, ThreatModel};
use hunt::Hunt;
use serde::{Deserialize, Serialize};

/// What a Square attack is, as plain data; [`Square::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SquareSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// What is wanted.
    pub goal: Goal,
    /// Queries of a search after its first point.
    pub queries: usize,
    /// Searches per image.
    pub restarts: u32,
}

/// Square: a change in a random window is kept if the margin rises. Asks for logits only.
///
/// Windows are drawn per image and reach every row and column; the public code shares one window per batch (T37).
/// Source: Andriushchenko et al. 2020, "Square Attack: a query-efficient black-box adversarial attack via random search";
/// L1 as in AutoAttack.
#[derive(Clone, Debug, PartialEq)]
pub struct Square {
    settings: SquareSettings,
    rounds: Rounds,
    name: String,
}

impl Square {
    /// Queries where nothing is said, as in AutoAttack.
    pub const QUERIES: usize = 5000;

    /// Square with these settings, named `square`, with queries and restarts where they are not 5000 and 1.
    ///
    /// Errors: `Setting` for no restart.
    pub fn new(settings: SquareSettings) -> Result<Self, AttackError> {
        let kind = format!("{}square", goal_prefix(settings.goal));
        let name = numbered(&kind, (settings.queries, Self::QUERIES), settings.restarts);
        if settings.restarts == 0 {
            let (found, expected) = ("0".to_owned(), "at least 1");
            let setting = "restarts";
            return Err(AttackError::Setting { attack: name, setting, found, expected });
        }
        Ok(Self { settings, rounds: Rounds::All, name })
    }

    /// What was asked for.
    pub fn settings(&self) -> &SquareSettings {
        &self.settings
    }

    fn search(
        &self,
        victim: &mut dyn Victim,
        (batch, aims): (&Batch, &Aims),
        stream: &AttackStream,
        restart: u32,
    ) -> Result<Vec<Found>, AttackError> {
        let (norm, epsilon) = (self.settings.threat.norm(), self.settings.threat.epsilon().value());
        let shape = batch.images.shape;
        let each = 0..batch.images.count;
        let mut hunts: Vec<Hunt<'_>> = each
            .map(|position| {
                let index = image_key(batch.indices[position]);
                let (purpose, time) = (Purpose::AttackQuery, stream.time);
                let draws = stream.stream.draws(Key { purpose, time, index, restart });
                Hunt::new(norm, epsilon, shape, batch.images.one(position), draws)
            })
            .collect();
        let mut reached = vec![false; batch.images.count];
        let mut standing: Vec<usize> = (0..batch.images.count).collect();
        let mut points = Images { count: 0, shape, pixels: Vec::new() };
        for query in 0..=self.settings.queries {
            if standing.is_empty() {
                break;
            }
            points.count = standing.len();
            points.pixels.clear();
            for &position in &standing {
                match query {
                    0 => hunts[position].begin(&mut points.pixels),
                    _ => hunts[position].propose(query - 1, &mut points.pixels),
                }
            }
            // All stand at first: an image is remembered at its position.
            let logits = match query {
                0 => victim.remember(&points)?,
                _ => victim.logits_near(&standing, &points)?,
            };
            let mut row = 0;
            let mut failed = None;
            let mut better = Vec::new();
            standing.retain(|&position| {
                let score = aims.score(position, logits.row(row));
                // A wrong answer is kept whatever its margin: of equal logits the first is predicted.
                let gain = if score.reached { f64::INFINITY } else { score.gain };
                if hunts[position].offer(points.one(row), gain) {
                    better.push(position);
                }
                reached[position] = score.reached;
                row += 1;
                if score.gain.is_nan() {
                    failed.get_or_insert(batch.indices[position]);
                }
                !score.reached
            });
            victim.accept(&better);
            if let Some(index) = failed {
                let (attack, what) = (self.name.clone(), "margin");
                return Err(AttackError::NonFinite { attack, step: query, what, index });
            }
        }
        let found = hunts.into_iter().zip(reached);
        let found =
            found.map(|(hunt, reached)| Found { point: hunt.best, reached, loss: hunt.gain });
        Ok(found.collect())
    }
}

impl Attack for Square {
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
        let aims = Aims::resolve(self.settings.goal, AttackLoss::Margin, victim, batch, stream)?;
        let rounds = self.rounds.plan(1, self.settings.restarts, stream);
        worst_of_rounds((victim, batch), (vec![aims], rounds), &mut |victim, batch, aims, round| {
            self.search(victim, (batch, aims), stream, round.number)
        })
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let SquareSettings { threat, goal, queries, restarts } = &self.settings;
        vec![
            ("epsilon", threat.epsilon().written().to_owned()),
            ("goal", goal.to_string()),
            ("queries", queries.to_string()),
            ("restarts", restarts.to_string()),
        ]
    }

    fn restarts(&self) -> Option<Restarts> {
        let count = self.settings.restarts;
        let single = Self { rounds: Rounds::Streams, ..self.clone() };
        (count > 1).then(|| Restarts { single: Box::new(single), count })
    }
}
