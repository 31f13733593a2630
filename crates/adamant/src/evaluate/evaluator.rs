//! Clean accuracy, then every attack, a verdict for every image.

use super::attacked::Context;
use super::flag::{at_chance, zero_gradients};
use super::probe::without_gradient;
use super::{
    EvaluateError, Evaluation, Examples, Proportion, Samples, ThreatReport, Verdict, branch_name,
    judge,
};
use crate::attack::{Attack, AttackStream};
use crate::image::Batch;
use crate::stream::Stream;
use crate::threat::ThreatModel;
use engine::{Engine, Frozen, Precision};
use network::{Domain, Network};
use serde::{Deserialize, Serialize};

/// What "robust" counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Right as it is and under every attack and restart; only survivors are attacked again (T39).
    WorstCase,
    /// Every image is attacked by every attack, whatever it was before, and only the last answer counts: an image
    /// wrong as it is may count as right. As in the paper's evaluation.
    Paper,
}

/// How a network is judged. Plain settings; the networks and images come with the call.
pub struct Evaluator {
    /// What the adversary may do; every proposal is held against it.
    pub threat: ThreatModel,
    /// What is tried, in this order.
    pub attacks: Vec<Box<dyn Attack>>,
    /// What "robust" counts.
    pub protocol: Protocol,
    /// The branch that is judged.
    pub branch: Domain,
    /// The branch whose gradients the attack sees; another than [`Evaluator::branch`] is a transfer attack (T6, T9).
    pub attack_branch: Domain,
    /// How the attacked network computes. The judge always computes in f32.
    pub precision: Precision,
    /// Which images.
    pub samples: Samples,
    /// Seed of the subset, of random starts and of random targets.
    pub seed: u64,
    /// Images in memory at a time; results do not depend on it (G7).
    pub batch_size: usize,
}

/// What is judged, in the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The model.
    pub model: String,
    /// The data.
    pub data: String,
}

/// Who watches an evaluation. The library has no clock: the watcher brings it.
pub trait Observer {
    /// `stage` begins: `clean` or an attack's name, over so many images.
    fn begin(&mut self, stage: &str, images: usize);
    /// So many more images of the stage are judged; of these, so many are right.
    fn judged(&mut self, images: usize, right: usize);
    /// Seconds since a fixed moment.
    fn seconds(&self) -> f64;
}

/// Nobody watches; times are 0.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _stage: &str, _images: usize) {}
    fn judged(&mut self, _images: usize, _right: usize) {}
    fn seconds(&self) -> f64 {
        0.0
    }
}

/// Most images whose gradient is probed for being zero.
const PROBED: usize = 256;

impl Evaluator {
    /// Freezes the two branches of `network` and judges it.
    ///
    /// Errors: see [`EvaluateError`]; a proposal that breaks the rules is an error that names its attack (G14).
    pub fn evaluate<E: Engine>(
        &self,
        engine: &E,
        network: &Network,
        subject: Subject,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, EvaluateError> {
        let attacked = engine.freeze(network, self.attack_branch, self.precision)?;
        let judged = engine.freeze(network, self.branch, Precision::F32)?;
        self.run(&attacked, &judged, subject, examples, observer)
    }

    /// Judges `judged` on images that attacks craft against `attacked`.
    ///
    /// Errors: see [`EvaluateError`].
    pub fn run(
        &self,
        attacked: &impl Frozen,
        judged: &impl Frozen,
        subject: Subject,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, EvaluateError> {
        check_networks(attacked, judged, examples, self.batch_size)?;
        let positions = self.samples.positions(examples.count(), self.seed)?;
        let mut verdicts = self.clean(judged, examples, &positions, observer)?;
        let clean = count(&verdicts, Verdict::is_clean_right);
        let mut flags: Vec<_> = at_chance(clean, judged.classes()).into_iter().collect();
        if !self.attacks.is_empty() {
            let probed = self.probe(attacked, examples, &positions, &verdicts)?;
            flags.extend(zero_gradients(probed));
        }
        let mut reports = Vec::new();
        for attack in &self.attacks {
            let context = Context { attacked, judged, examples, positions: &positions };
            reports.push(self.under(&**attack, &context, &mut verdicts, observer)?);
        }
        let worst = match self.protocol {
            Protocol::WorstCase => Some(count(&verdicts, |verdict| verdict.broken_by.is_none())),
            Protocol::Paper => None,
        };
        Ok(Evaluation {
            model: subject.model,
            data: subject.data,
            samples: positions.len(),
            seed: self.seed,
            precision: precision_name(self.precision).to_string(),
            protocol: self.protocol,
            threat: self.threat_report(),
            branch: branch_name(self.branch),
            attack_branch: branch_name(self.attack_branch),
            clean_accuracy: clean.share(),
            clean_ci95: clean.wilson95(),
            attacks: reports,
            worst_case_accuracy: worst.map(|worst| worst.share()),
            worst_case_ci95: worst.map(|worst| worst.wilson95()),
            flags,
            verdicts: Evaluation::verdicts_name(),
            verdict_list: verdicts,
        })
    }

    /// What the judge says of the images as they are.
    fn clean(
        &self,
        judged: &impl Frozen,
        examples: &dyn Examples,
        positions: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Verdict>, EvaluateError> {
        observer.begin("clean", positions.len());
        let mut verdicts = Vec::with_capacity(positions.len());
        for chunk in positions.chunks(self.batch_size) {
            let batch = read(examples, chunk, judged.classes())?;
            let predictions = judge(judged, &batch.images, &batch)?;
            let begun = verdicts.len();
            for (position, prediction) in predictions.into_iter().enumerate() {
                let (index, label) = (batch.indices[position], batch.labels[position]);
                let mut verdict = Verdict::unattacked(index, label, prediction);
                if self.protocol == Protocol::WorstCase && !verdict.is_clean_right() {
                    verdict.broken_by = Some("clean".to_string());
                }
                verdicts.push(verdict);
            }
            let right = count(&verdicts[begun..], Verdict::is_clean_right).count;
            observer.judged(chunk.len(), right);
        }
        Ok(verdicts)
    }

    /// How many of the first images that are right as they are have no input gradient at all.
    fn probe(
        &self,
        attacked: &impl Frozen,
        examples: &dyn Examples,
        positions: &[usize],
        verdicts: &[Verdict],
    ) -> Result<Proportion, EvaluateError> {
        let right: Vec<usize> = (0..verdicts.len())
            .filter(|&position| verdicts[position].is_clean_right())
            .map(|position| positions[position])
            .take(PROBED)
            .collect();
        let mut zero = Proportion { count: 0, total: 0 };
        for chunk in right.chunks(self.batch_size) {
            let batch = read(examples, chunk, attacked.classes())?;
            zero.count += without_gradient(attacked, &batch, &stream(self.seed, 0))?;
            zero.total += chunk.len();
        }
        Ok(zero)
    }

    fn threat_report(&self) -> ThreatReport {
        let targeted =
            self.attacks.iter().filter(|attack| attack.name().starts_with("targeted-")).count();
        let goal = match targeted {
            0 => "untargeted",
            all if all == self.attacks.len() => "targeted",
            _ => "mixed",
        };
        ThreatReport {
            norm: self.threat.norm().to_string(),
            epsilon: self.threat.epsilon().written().to_string(),
            goal: goal.to_string(),
        }
    }
}

/// Whether networks and images belong together.
pub(super) fn check_networks(
    attacked: &impl Frozen,
    judged: &impl Frozen,
    examples: &dyn Examples,
    batch_size: usize,
) -> Result<(), EvaluateError> {
    if batch_size == 0 {
        return Err(EvaluateError::BatchSize);
    }
    if attacked.classes() != judged.classes() || attacked.input() != judged.input() {
        return Err(EvaluateError::Networks {
            attacked: attacked.classes(),
            attacked_input: attacked.input(),
            judged: judged.classes(),
            judged_input: judged.input(),
        });
    }
    if examples.shape() != judged.input() {
        return Err(EvaluateError::Shape { expected: judged.input(), found: examples.shape() });
    }
    Ok(())
}

/// The images at `positions`, with labels a network of so many classes can predict.
pub(super) fn read(
    examples: &dyn Examples,
    positions: &[usize],
    classes: usize,
) -> Result<Batch, EvaluateError> {
    let batch = examples
        .read(positions)
        .map_err(|source| EvaluateError::Read { first: positions[0], source })?;
    for (&index, &label) in batch.indices.iter().zip(&batch.labels) {
        if label as usize >= classes {
            return Err(EvaluateError::Label { index, label, classes });
        }
    }
    Ok(batch)
}

/// The draws of an evaluation, from a restart on: a function of its seed alone.
pub(super) fn stream(seed: u64, restart: u32) -> AttackStream {
    AttackStream { stream: Stream::new(seed), time: 0, rank: 0, first_restart: restart }
}

fn count(verdicts: &[Verdict], holds: impl Fn(&Verdict) -> bool) -> Proportion {
    Proportion {
        count: verdicts.iter().filter(|verdict| holds(verdict)).count(),
        total: verdicts.len(),
    }
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
    }
}
