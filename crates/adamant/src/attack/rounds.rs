//! Several searches of one attack, by target and restart, and the worst result for each image.

use super::loss::AttackLoss;
use super::{Aims, AttackError, AttackStream, Perturbed, Victim};
use crate::image::Batch;
use std::borrow::Cow;

/// What one search found for one image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The image.
    pub point: Vec<f32>,
    /// Whether it reaches the aim, as the victim sees it.
    pub reached: bool,
    /// What the search raises; decides among images that reach nothing.
    pub loss: f64,
}

/// Which of its rounds an attack makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Every target, every restart.
    All,
    /// The one whose number is the stream's first restart: a judge takes the attack apart.
    Streams,
}

/// One round: its number, and which of the aims it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// Keys its draws.
    pub number: u32,
    /// How many came before on the same aim.
    pub restart: u32,
    aim: usize,
}

impl Round {
    /// The aims it follows.
    pub(super) fn of(self, aims: &[Aims]) -> &Aims {
        &aims[self.aim]
    }
}

impl Rounds {
    /// The rounds for so many aims; all restarts of one come before the next.
    pub(super) fn plan(self, aims: usize, restarts: u32, stream: &AttackStream) -> Vec<Round> {
        let first = stream.first_restart;
        let round = |aim: usize, restart| Round {
            number: first + aim as u32 * restarts + restart,
            restart,
            aim,
        };
        match self {
            Self::All => {
                let each = (0..aims).flat_map(|aim| (0..restarts).map(move |r| (aim, r)));
                each.map(|(aim, restart)| round(aim, restart)).collect()
            }
            // A network with few classes has fewer targets than were asked for; rounds beyond them start over.
            Self::Streams => {
                let aim = (first / restarts) as usize % aims.max(1);
                vec![Round { number: first, restart: first % restarts, aim }]
            }
        }
    }
}

/// Aims away from the label and towards each of the classes that are likeliest on the clean image, one after the other.
///
/// The label itself is left out wherever it ranks. Costs one forward per image.
/// Errors: the victim's.
pub(super) fn by_clean_rank(
    loss: AttackLoss,
    targets: u32,
    victim: &mut dyn Victim,
    batch: &Batch,
) -> Result<Vec<Aims>, AttackError> {
    let logits = victim.logits(&batch.images)?;
    let ranked: Vec<Vec<u32>> = (0..batch.images.count)
        .map(|position| {
            let row = logits.row(position);
            let others = 0..row.len() as u32;
            let mut others: Vec<u32> =
                others.filter(|&class| class != batch.labels[position]).collect();
            others.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
            others
        })
        .collect();
    let count = targets.min(logits.classes.saturating_sub(1) as u32) as usize;
    let aim = |rank: usize| {
        let rivals = ranked.iter().map(|others| others[rank]).collect();
        Aims::between(loss, batch.labels.clone(), rivals)
    };
    Ok((0..count).map(aim).collect())
}

/// One search, over the images that still stand: `(victim, images, aims, round)`.
pub(super) type Search<'a> =
    dyn FnMut(&mut dyn Victim, &Batch, &Aims, Round) -> Result<Vec<Found>, AttackError> + 'a;

/// Makes the rounds and keeps for every image the first result that reaches the aim, else the one with the largest loss.
///
/// An image whose aim is reached is not searched again (T39), unless others depend on it.
/// Errors: those of `search`.
pub(super) fn worst_of_rounds(
    (victim, batch): (&mut dyn Victim, &Batch),
    (aims, rounds): (Vec<Aims>, Vec<Round>),
    search: &mut Search<'_>,
) -> Result<Perturbed, AttackError> {
    let count = batch.images.count;
    let first = rounds.first().map_or(0, |round| round.number);
    let mut perturbed =
        Perturbed { images: batch.images.clone(), targets: None, restarts: vec![first; count] };
    let mut best = vec![f64::NEG_INFINITY; count];
    let mut reached = vec![false; count];
    let mut standing: Vec<usize> = (0..count).collect();
    for round in rounds {
        let aims = round.of(&aims);
        if standing.is_empty() {
            break;
        }
        let (some, some_aims) = if standing.len() == count {
            (Cow::Borrowed(batch), Cow::Borrowed(aims))
        } else {
            (Cow::Owned(batch.select(&standing)), Cow::Owned(aims.select(&standing)))
        };
        let found = search(victim, &some, &some_aims, round)?;
        for (&position, found) in standing.iter().zip(&found) {
            if !reached[position] && (found.reached || found.loss > best[position]) {
                perturbed.images.one_mut(position).copy_from_slice(&found.point);
                perturbed.restarts[position] = round.number;
                best[position] = found.loss;
                reached[position] = found.reached;
            }
        }
        if victim.has_independent_images() {
            standing.retain(|&position| !reached[position]);
        }
    }
    perturbed.targets = aims.into_iter().next().and_then(Aims::into_targets);
    Ok(perturbed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Stream;

    fn stream(first_restart: u32) -> AttackStream {
        AttackStream { stream: Stream::new(1), time: 0, rank: 0, first_restart }
    }

    #[test]
    fn the_rounds_one_by_one_are_all_the_rounds() {
        let all = Rounds::All.plan(3, 2, &stream(0));
        let one_by_one: Vec<Round> =
            (0..6).flat_map(|number| Rounds::Streams.plan(3, 2, &stream(number))).collect();
        assert_eq!(all, one_by_one);
        assert_eq!(all.iter().map(|round| round.aim).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    }
}
