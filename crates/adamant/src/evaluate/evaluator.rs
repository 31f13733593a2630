//! Clean accuracy, then every attack, a verdict for every image.

use super::attacked::{Context, Work};
use super::audit::{AUDITED, Audit, Depth, Networks};
use super::ledger::text;
use super::probe::leading_gradients;
use super::record::{CLEAN, GRADIENTS};
use super::tally::Tally;
use super::together::Team;
use super::{
    AttackHeader, Clean, Conduct, Distances, EvaluateError, Evaluation, Examples, Header, Looks,
    Probed, Record, Samples, ThreatReport, Verdict, branch_name, judge,
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
    /// How the attacked network computes. The judge always computes in f32, and what stands after an attack in another
    /// precision is attacked again in f32.
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
    /// So many more images of the stage are with other ranks.
    fn elsewhere(&mut self, _images: usize) {}
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

/// Of how many images the gradient is probed for being zero, those among them that are right as they are.
const PROBED: usize = 256;
/// The queue of the audit, beside those of stages.
const AUDIT: usize = usize::MAX;

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
        self.conduct(engine, network, subject, examples, observer, Conduct::default())
    }

    /// As [`Evaluator::evaluate`], with a ledger, for a part of the images, or looking at searches on their way.
    ///
    /// Errors: see [`EvaluateError`].
    pub fn conduct<E: Engine>(
        &self,
        engine: &E,
        network: &Network,
        subject: Subject,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
        conduct: Conduct<'_>,
    ) -> Result<Evaluation, EvaluateError> {
        let attacked = engine.freeze(network, self.attack_branch, self.precision)?;
        let judged = engine.freeze(network, self.branch, Precision::F32)?;
        let mut networks = Networks::new(&attacked, &judged);
        let exact = || engine.freeze(network, self.attack_branch, Precision::F32);
        let reference = (self.precision != Precision::F32).then(exact).transpose()?;
        // Of a mixture's two branches each is to the other a network of the same task.
        let surrogate = match conduct.audit {
            Some(Audit { depth: Depth::Thorough }) if network.graph.domains > 1 => {
                let other = match self.attack_branch {
                    Domain::CLEAN => Domain::ADVERSARIAL,
                    _ => Domain::CLEAN,
                };
                Some(engine.freeze(network, other, Precision::F32)?)
            }
            _ => None,
        };
        (networks.reference, networks.surrogate) = (reference.as_ref(), surrogate.as_ref());
        self.conduct_frozen(&networks, subject, examples, observer, conduct)
    }

    /// Judges `judged` on images that attacks craft against `attacked`.
    ///
    /// Errors: see [`EvaluateError`]; `Reference` for another precision than f32, which takes
    /// [`Evaluator::conduct_frozen`].
    pub fn run(
        &self,
        attacked: &impl Frozen,
        judged: &impl Frozen,
        subject: Subject,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, EvaluateError> {
        let networks = Networks::new(attacked, judged);
        self.conduct_frozen(&networks, subject, examples, observer, Conduct::default())
    }

    /// As [`Evaluator::run`], conducted as said.
    ///
    /// Errors: see [`EvaluateError`].
    pub fn conduct_frozen<A: Frozen, J: Frozen, S: Frozen>(
        &self,
        networks: &Networks<'_, A, J, S>,
        subject: Subject,
        examples: &dyn Examples,
        observer: &mut dyn Observer,
        mut conduct: Conduct<'_>,
    ) -> Result<Evaluation, EvaluateError> {
        let Networks { attacked, judged, reference, .. } = *networks;
        check_networks(attacked, judged, examples, self.batch_size)?;
        if self.precision != Precision::F32 && reference.is_none() {
            return Err(EvaluateError::Reference { precision: precision_name(self.precision) });
        }
        let all = self.samples.positions(examples.count(), self.seed)?;
        let header = self.header(subject, judged.classes(), all.len(), &conduct);
        let mut tally = Tally::new(&header);
        let team = Team::new(conduct.ranks);
        let known = conduct.ledger.begin(&header)?;
        let has_ended = known.contains(&Record::Ended);
        tally.enter_all(team.begin(&header, known, &mut conduct.ledger)?)?;
        let mut work = Work {
            context: Context {
                attacked,
                exact: reference,
                judged,
                examples,
                looks: conduct.looks,
                distances: conduct.distances,
            },
            tally: &mut tally,
            ledger: &mut conduct.ledger,
            team,
        };
        let own = conduct.share.of(&all);
        self.clean(&mut work, own, observer)?;
        if !self.attacks.is_empty() {
            // Of the whole evaluation, so that parts together probe what one process would.
            let first = &all[..all.len().min(PROBED)];
            self.probe(&mut work, own, first)?;
        }
        let doubts = conduct.audit.is_some() || !conduct.doubts.is_empty();
        let audits = doubts && conduct.share.is_first() && !work.tally.is_audited;
        // One rank has doubts while the others go on.
        let mut audit = work.team.pieces(AUDIT, usize::from(audits), 1);
        while audit.take(&mut Silent)?.is_some() {
            let mut flags = std::mem::take(&mut conduct.doubts);
            if let Some(audit) = conduct.audit {
                let batch = read(examples, &all[..all.len().min(AUDITED)], judged.classes())?;
                flags.extend(audit.run(self, networks, &batch)?);
            }
            work.enter(Record::Audit { flags })?;
        }
        for (place, attack) in self.attacks.iter().enumerate() {
            self.under(place, &**attack, &mut work, observer)?;
        }
        work.meet()?;
        if !has_ended {
            work.ledger.append(Record::Ended)?;
            work.ledger.sync()?;
        }
        if conduct.ranks.world_size() > 1 && conduct.ranks.rank() == 0 {
            conduct.ledger.replace(&text(&header, tally.canonical()))?;
        }
        let part = (!conduct.share.is_whole()).then(|| conduct.share.to_string());
        Ok(Evaluation { part, ..Evaluation::of(&header, &tally) })
    }

    /// The judged positions of an evaluation of so many examples: what a [`super::Fingerprint`] is taken of.
    ///
    /// Errors: `Samples`.
    pub fn positions(&self, examples: &dyn Examples) -> Result<Vec<usize>, EvaluateError> {
        self.samples.positions(examples.count(), self.seed)
    }

    /// What the judge says of the images as they are.
    fn clean(
        &self,
        work: &mut Work<'_, impl Frozen, impl Frozen>,
        own: &[usize],
        observer: &mut dyn Observer,
    ) -> Result<(), EvaluateError> {
        let done = &work.tally.verdicts;
        let open: Vec<usize> =
            own.iter().copied().filter(|position| !done.contains_key(position)).collect();
        observer.begin("clean", open.len());
        let mut pieces = work.team.pieces(CLEAN, open.len(), self.batch_size);
        while let Some(piece) = pieces.take(observer)? {
            let chunk = &open[piece];
            let Context { judged, examples, .. } = work.context;
            let batch = read(examples, chunk, judged.classes())?;
            let predictions = judge(judged, &batch.images, &batch)?;
            let outcomes = predictions.into_iter().enumerate().map(|(row, prediction)| Clean {
                image: chunk[row],
                index: batch.indices[row],
                label: batch.labels[row],
                prediction,
            });
            let outcomes: Vec<Clean> = outcomes.collect();
            let right = outcomes.iter().filter(|clean| clean.prediction == clean.label).count();
            work.enter(Record::Clean { outcomes })?;
            observer.judged(chunk.len(), right);
        }
        work.meet()
    }

    /// Which of the first images that are right as they are have no input gradient at all.
    fn probe(
        &self,
        work: &mut Work<'_, impl Frozen, impl Frozen>,
        own: &[usize],
        first: &[usize],
    ) -> Result<(), EvaluateError> {
        let tally = &work.tally;
        let is_open = |position: &usize| {
            first.binary_search(position).is_ok()
                && tally.verdicts.get(position).is_some_and(Verdict::is_clean_right)
                && !tally.leads.contains_key(position)
        };
        let open: Vec<usize> = own.iter().copied().filter(is_open).collect();
        let mut pieces = work.team.pieces(GRADIENTS, open.len(), self.batch_size);
        while let Some(piece) = pieces.take(&mut Silent)? {
            let chunk = &open[piece];
            let Context { attacked, examples, .. } = work.context;
            let batch = read(examples, chunk, attacked.classes())?;
            let leads = leading_gradients(attacked, &batch, &stream(self.seed, 0))?;
            let outcomes = chunk.iter().zip(leads).map(|(&image, leads)| Probed { image, leads });
            let outcomes = outcomes.collect();
            work.enter(Record::Gradients { outcomes })?;
        }
        work.meet()
    }

    fn header(
        &self,
        subject: Subject,
        classes: usize,
        samples: usize,
        conduct: &Conduct,
    ) -> Header {
        let attack_header = |attack: &dyn Attack| {
            let settings = attack.resolved().into_iter();
            let milestones = match conduct.looks {
                Looks::End => Vec::new(),
                Looks::Along => attack.milestones(),
            };
            AttackHeader {
                name: attack.name(),
                settings: settings.map(|(key, value)| (key.to_string(), value)).collect(),
                along: milestones.into_iter().map(|m| (m.steps, m.equals)).collect(),
                tells_distances: conduct.distances == Distances::Told && attack.minimal().is_some(),
            }
        };
        Header {
            format: Header::FORMAT,
            model: subject.model,
            data: subject.data,
            fingerprint: conduct.fingerprint.clone(),
            classes,
            samples,
            seed: self.seed,
            precision: precision_name(self.precision).to_string(),
            protocol: self.protocol,
            threat: self.threat_report(),
            branch: branch_name(self.branch),
            attack_branch: branch_name(self.attack_branch),
            audit: conduct.audit.map(|audit| audit.depth.name().to_string()),
            attacks: self.attacks.iter().map(|attack| attack_header(&**attack)).collect(),
        }
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

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}
