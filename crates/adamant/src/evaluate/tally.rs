//! Records added up: what is done, what remains, and what the figures are. The same for one process from start to end,
//! for one that was killed and resumed, and for the merged ledgers of several.

use super::header::Header;
use super::record::{Clean, Outcome, Probed, Record};
use super::{EvaluateError, Flag, Protocol, Verdict};
use crate::attack::Passes;
use std::collections::BTreeMap;

/// The state of an evaluation.
pub(super) struct Tally {
    protocol: Protocol,
    names: Vec<String>,
    /// Of each attack, whether it goes for distances: then an image broken already is attacked all the same.
    tells_distances: Vec<bool>,
    /// By place among the examples.
    pub(super) verdicts: BTreeMap<usize, Verdict>,
    pub(super) leads: BTreeMap<usize, bool>,
    pub(super) attacks: Vec<Attacked>,
    pub(super) flags: Vec<Flag>,
    pub(super) is_audited: bool,
}

/// What one attack did so far.
#[derive(Default)]
pub(super) struct Attacked {
    pub(super) outcomes: BTreeMap<usize, Outcome>,
    pub(super) passes: Passes,
    pub(super) seconds: f64,
}

impl Tally {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            protocol: header.protocol,
            names: header.attacks.iter().map(|attack| attack.name.clone()).collect(),
            tells_distances: header.attacks.iter().map(|attack| attack.tells_distances).collect(),
            verdicts: BTreeMap::new(),
            leads: BTreeMap::new(),
            attacks: header.attacks.iter().map(|_| Attacked::default()).collect(),
            flags: Vec::new(),
            is_audited: false,
        }
    }

    /// Adds the records of one or several ledgers, which may come in any order.
    ///
    /// Errors: `LedgerContradicts`.
    pub(super) fn enter_all(&mut self, mut records: Vec<Record>) -> Result<(), EvaluateError> {
        // Verdicts remember the first attack that broke an image: first in the evaluation, not in the file.
        records.sort_by_key(Record::stage);
        records.iter().try_for_each(|record| self.enter(record))
    }

    /// Adds one record; those of earlier stages must be there.
    ///
    /// Errors: `LedgerContradicts` for an image that has two outcomes of a stage, or an attack's but no clean one.
    pub(super) fn enter(&mut self, record: &Record) -> Result<(), EvaluateError> {
        match record {
            Record::Clean { outcomes } => {
                for clean in outcomes {
                    let verdict = self.unattacked(clean);
                    once(self.verdicts.insert(clean.image, verdict), "clean", clean.image)?;
                }
            }
            Record::Gradients { outcomes } => {
                for probed in outcomes {
                    let before = self.leads.insert(probed.image, probed.leads);
                    once(before, "gradients", probed.image)?;
                }
            }
            Record::Attack { attack, outcomes, forward, backward, seconds } => {
                let unknown = || contradicts(format!("there is no attack number {attack}"));
                let name = self.names.get(*attack).ok_or_else(unknown)?;
                let attacked = &mut self.attacks[*attack];
                attacked.passes.forward += forward;
                attacked.passes.backward += backward;
                attacked.seconds += seconds;
                for outcome in outcomes {
                    let image = outcome.image;
                    let verdict = self.verdicts.get_mut(&image).ok_or_else(|| {
                        contradicts(format!("{name} attacked image {image}, which was not judged"))
                    })?;
                    enter_outcome(name, outcome, verdict);
                    once(attacked.outcomes.insert(image, outcome.clone()), name, image)?;
                }
            }
            Record::Audit { flags } => {
                let new = flags.iter().filter(|flag| !self.flags.contains(flag)).cloned();
                let new: Vec<_> = new.collect();
                self.flags.extend(new);
                self.is_audited = true;
            }
            Record::Ended => {}
        }
        Ok(())
    }

    fn unattacked(&self, clean: &Clean) -> Verdict {
        let mut verdict = Verdict::unattacked(clean.index, clean.label, clean.prediction);
        if self.protocol == Protocol::WorstCase && !verdict.is_clean_right() {
            verdict.broken_by = Some("clean".to_string());
        }
        verdict
    }

    /// The images the protocol lets an attack see, done or not: in the worst case those that stood before it (T39).
    pub(super) fn open_to(&self, attack: usize) -> Vec<usize> {
        let stands = |image: &usize, verdict: &Verdict| match self.protocol {
            Protocol::Paper => true,
            Protocol::WorstCase => {
                let is_open =
                    self.tells_distances[attack] || !self.is_broken_before(attack, *image);
                verdict.is_clean_right() && is_open
            }
        };
        let all = self.verdicts.iter();
        all.filter(|(image, verdict)| stands(image, verdict)).map(|(&image, _)| image).collect()
    }

    /// Whether one of the attacks before `attack` broke `image`.
    pub(super) fn is_broken_before(&self, attack: usize, image: usize) -> bool {
        let broke = |a: &Attacked| a.outcomes.get(&image).is_some_and(|o| o.broken.is_some());
        self.attacks[..attack].iter().any(broke)
    }

    /// Errors: `Incomplete` unless `samples` images have gone through all stages.
    pub(super) fn check_complete(
        &self,
        samples: usize,
        hint: &'static str,
    ) -> Result<(), EvaluateError> {
        let missing = |stage: &str, missing: usize| match missing {
            0 => Ok(()),
            missing => Err(EvaluateError::Incomplete { stage: stage.to_string(), missing, hint }),
        };
        missing("clean", samples.saturating_sub(self.verdicts.len()))?;
        for (place, name) in self.names.iter().enumerate() {
            let done = &self.attacks[place].outcomes;
            let open = self.open_to(place);
            missing(name, open.iter().filter(|image| !done.contains_key(image)).count())?;
        }
        Ok(())
    }

    /// One record a stage, images rising, without times: equal for equal evaluations, however they were done.
    pub(super) fn canonical(&self) -> Vec<Record> {
        let clean = |(&image, verdict): (&usize, &Verdict)| Clean {
            image,
            index: verdict.index,
            label: verdict.label,
            prediction: verdict.clean_prediction,
        };
        let mut records =
            vec![Record::Clean { outcomes: self.verdicts.iter().map(clean).collect() }];
        let leads = self.leads.iter().map(|(&image, &leads)| Probed { image, leads });
        records.push(Record::Gradients { outcomes: leads.collect() });
        for (attack, attacked) in self.attacks.iter().enumerate() {
            records.push(Record::Attack {
                attack,
                outcomes: attacked.outcomes.values().cloned().collect(),
                forward: attacked.passes.forward,
                backward: attacked.passes.backward,
                seconds: 0.0,
            });
        }
        records.push(Record::Audit { flags: self.flags.clone() });
        records.push(Record::Ended);
        records
    }
}

/// An image is broken if and only if the judge is wrong about the checked image, whatever the attack claims. The first
/// to break it is remembered.
fn enter_outcome(attack: &str, outcome: &Outcome, verdict: &mut Verdict) {
    let nearer = |found: &f64| verdict.distance.is_none_or(|least| *found < least);
    if let Some(found) = outcome.distance.filter(nearer) {
        verdict.distance = Some(found);
    }
    if let (Some(broken), None) = (outcome.broken, &verdict.broken_by) {
        verdict.broken_by = Some(attack.to_string());
        verdict.prediction = broken.prediction;
        verdict.norm = Some(broken.norm);
        verdict.restart = Some(broken.restart);
    }
}

fn once<T>(before: Option<T>, stage: &str, image: usize) -> Result<(), EvaluateError> {
    match before {
        None => Ok(()),
        Some(_) => Err(contradicts(format!("{stage} has two outcomes for image {image}"))),
    }
}

fn contradicts(found: String) -> EvaluateError {
    EvaluateError::LedgerContradicts { found }
}
