//! One training step. It reads like the paper; begin with [`Trainer::step`].

use super::buckets::Gathering;
use super::error::TrainError;
use super::fault::{self, Fault};
use super::forward::forward;
use super::meeting::{Met, Own, Told, meet};
use super::plan::Plan;
use super::sections::FrozenStatistics;
use crate::attack::{Attack, AttackError, AttackStream, prediction};
use crate::data::Deal;
use crate::evaluate::Fingerprint;
use crate::image::{Batch, Images, Logits};
use crate::objective::{Shown, StepDraw, StepLogits};
use crate::optimizer::{Sgd, gradient_norm, non_finite_gradient};
use crate::schedule::Schedule;
use crate::stream::Stream;
use crate::victim::{BatchVictim, perturb_in_tiles};
use collective::{Collective, agree};
use engine::{Engine, EngineError};
use network::{Network, Parameter, Statistics};
use rayon::prelude::*;

/// A network in training.
pub struct Trainer<'a, E: Engine> {
    /// Computes.
    pub engine: &'a E,
    /// The other ranks.
    pub collective: &'a dyn Collective,
    /// What is wanted.
    pub plan: &'a Plan,
    /// Learning rate by step.
    pub schedule: Schedule,
    /// What is trained.
    pub network: Network,
    /// How it moves.
    pub optimizer: Sgd,
}

/// What a step tells.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// The objective.
    pub loss: f64,
    /// Its clean part.
    pub loss_clean: Option<f64>,
    /// Its adversarial part.
    pub loss_adversarial: Option<f64>,
    /// Share of the clean images shown that were right.
    pub accuracy_clean: Option<f64>,
    /// Share of the adversarial images shown that were right.
    pub accuracy_adversarial: Option<f64>,
    /// Learning rate.
    pub learning_rate: f64,
    /// Length of the gradient, weight decay not included.
    pub gradient_norm: f64,
}

/// Where in a step a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepPart {
    /// It has done its share; what is left of the sums has to be waited for.
    Computed,
    /// All ranks know the sums.
    Met,
}

impl<E: Engine> Trainer<'_, E> {
    /// One step: attack, show, compare, go back, agree, move, absorb; `batch` is that of a single worker.
    ///
    /// Errors: a part that fails; `NonFinite`, naming part, layer and images, after which the network is not to be used
    /// (G32).
    pub fn step(&mut self, batch: &Batch, step: u64, epoch: u32) -> Result<StepReport, TrainError> {
        self.step_dealt(batch, &[batch.images.count], step, epoch)
    }

    /// As [`Trainer::step`], where the images of `batch` belong to this rank's workers, `parts[i]` of them to the `i`th.
    ///
    /// All ranks take the step together, or none. Errors: as [`Trainer::step`], of any rank; `Deal`; `OtherRank`; the
    /// collective's.
    pub fn step_dealt(
        &mut self,
        batch: &Batch,
        parts: &[usize],
        step: u64,
        epoch: u32,
    ) -> Result<StepReport, TrainError> {
        self.step_watched(batch, parts, step, epoch, &mut |_| {})
    }

    /// As [`Trainer::step_dealt`], telling where in the step this rank is: the caller reads the clock.
    ///
    /// Errors: as there.
    pub fn step_watched(
        &mut self,
        batch: &Batch,
        parts: &[usize],
        step: u64,
        epoch: u32,
        reached: &mut dyn FnMut(StepPart),
    ) -> Result<StepReport, TrainError> {
        let work = |gradients: &mut Gathering<'_>| {
            let own = match self.plan.shares_moments() {
                false => self.work(batch, parts, step, epoch, gradients),
                true => self.work_as_one(batch, parts, step, epoch, gradients),
            };
            own.map_err(|error| fault::explain(error, self, batch))
        };
        let computed = || reached(StepPart::Computed);
        let met = meet(self.collective, &self.network, self.plan, work, computed)?;
        reached(StepPart::Met);
        self.move_together(met, step).map_err(|error| fault::explain(error, self, batch))
    }

    /// Takes part in a step that this rank cannot take.
    ///
    /// Errors: `error`, once the others know; the collective's.
    pub fn fail(&self, error: TrainError) -> Result<(), TrainError> {
        meet(self.collective, &self.network, self.plan, |_| Err(error), || {}).map(|_| ())
    }

    /// What this rank's workers do on their own.
    fn work(
        &self,
        batch: &Batch,
        parts: &[usize],
        step: u64,
        epoch: u32,
        gradients: &mut Gathering<'_>,
    ) -> Result<Own, TrainError> {
        let deal = deal(self.plan, self.collective)?;
        let crafting = self.freeze(step)?;
        let mut own = Own::default();
        if let [_] = parts {
            let draw = self.draw(step, deal.own().start);
            self.worker(&mut own, gradients, &crafting, batch, draw, epoch)?;
            return Ok(own);
        }
        let mut first = 0;
        for (worker, &images) in deal.own().zip(parts) {
            let positions: Vec<usize> = (first..first + images).collect();
            first += images;
            match images {
                0 => {
                    own.told.push(Told::default());
                    own.moments.push(Vec::new());
                    self.zeros().for_each(|(position, zero)| gradients.add(0, position, zero));
                }
                _ => {
                    let (share, draw) = (batch.select(&positions), self.draw(step, worker));
                    self.worker(&mut own, gradients, &crafting, &share, draw, epoch)?;
                }
            }
        }
        Ok(own)
    }

    /// One worker's share of a step, from its images to its gradient.
    fn worker(
        &self,
        own: &mut Own,
        gradients: &mut Gathering<'_>,
        crafting: &Option<E::Frozen>,
        batch: &Batch,
        draw: StepDraw,
        epoch: u32,
    ) -> Result<(), TrainError> {
        let Plan { objective, forward: kind, .. } = self.plan;
        let step = u64::from(draw.step);
        let demand = objective.demand(batch.images.count, &draw);
        let clean = batch.images.select(&demand.clean);
        // Constants of the training pass: no gradient flows back through the attack.
        let adversarial = self.perturb(crafting, &batch.select(&demand.adversarial), draw)?;

        let phase = self.plan.consistent_in(epoch);
        let statistics = phase.map_or(Statistics::Batch, |_| Statistics::Running);
        let show = |statistics| {
            forward(self.engine, &self.network, &clean, &adversarial, *kind, statistics)
        };
        let failed = |source: EngineError| TrainError::Engine { step, source: Box::new(source) };
        let answers = show(statistics).map_err(failed)?;
        let logits = StepLogits {
            labels: &batch.labels,
            clean: Shown { positions: &demand.clean, logits: &answers.clean },
            adversarial: Shown { positions: &demand.adversarial, logits: &answers.adversarial },
        };
        let loss = objective.loss(&logits);
        let in_layer = || fault::first_layer(self, &clean, &adversarial, statistics);
        for part in &loss.parts {
            finite(step, || format!("the {} loss", part.name), part.value)
                .map_err(|error| error.in_layer(in_layer))?;
        }
        self.bounded(step, loss.total, batch)?;
        let images = batch.images.count;
        let mut add = |position, gradient| gradients.add(images, position, gradient);
        answers.backward(self.engine, &self.network, None, &loss, &mut add).map_err(failed)?;
        let moments = match phase.map(|phase| phase.statistics) {
            None => answers.moments(*kind),
            Some(FrozenStatistics::Frozen) => Vec::new(),
            // Running statistics normalise, so the moments come from a forward of their own.
            Some(FrozenStatistics::Ema) => show(Statistics::Batch).map_err(failed)?.moments(*kind),
        };
        let told = Told {
            clean: right(&logits.clean, logits.labels),
            adversarial: right(&logits.adversarial, logits.labels),
            ..Told::of_loss(images, loss.total, &loss.parts)
        };
        own.told.push(told);
        own.moments.push(moments);
        Ok(())
    }

    /// What all ranks do in the same way, with the same numbers.
    fn move_together(&mut self, met: Met, step: u64) -> Result<StepReport, TrainError> {
        let Met { told, gradients, moments } = met;
        let norm = gradient_norm(&gradients);
        let worst = || non_finite_gradient(&self.network.parameters, &gradients);
        finite(step, || format!("the gradient of {}", worst().unwrap_or("the loss")), norm)
            .map_err(|error| error.in_layer(|| Some(worst()?.rsplit_once('.')?.0.to_string())))?;
        let share =
            |(right, shown): (usize, usize)| (shown > 0).then(|| right as f64 / shown as f64);
        let report = StepReport {
            loss: told.loss,
            loss_clean: told.loss_clean,
            loss_adversarial: told.loss_adversarial,
            accuracy_clean: share(told.clean),
            accuracy_adversarial: share(told.adversarial),
            learning_rate: self.schedule.learning_rate(step),
            gradient_norm: norm,
        };
        let rate = report.learning_rate as f32;
        self.optimizer.step(&mut self.network.parameters, &gradients, rate);
        self.engine.recycle(gradients);
        for moments in &moments {
            self.network.absorb(moments)?;
        }
        self.check_network(step)?;
        if (step + 1).is_multiple_of(COMPARED_EVERY) {
            self.compare(step + 1)?;
        }
        Ok(report)
    }

    /// Whether all ranks have the same network; nothing is computed where there is only one.
    ///
    /// Errors: `Differs`, naming the first rank with another; the collective's.
    pub fn compare(&self, step: u64) -> Result<(), TrainError> {
        if self.collective.world_size() > 1 {
            let what = format!("network after step {step}");
            agree(self.collective, &[(&what, Fingerprint::of_network(&self.network))])?;
        }
        Ok(())
    }

    /// The network as attacks meet it, where running statistics normalise; nothing of it changes (T2).
    pub(super) fn freeze(&self, step: u64) -> Result<Option<E::Frozen>, TrainError> {
        let crafting = self.plan.crafting;
        if crafting.statistics == Statistics::Batch || !self.plan.shows_adversarial_images() {
            return Ok(None);
        }
        let precision = self.engine.training_precision();
        let frozen = self.engine.freeze(&self.network, crafting.domain, precision);
        frozen.map(Some).map_err(|source| TrainError::Engine { step, source: Box::new(source) })
    }

    /// Adversarial images for `batch`, crafted against the network as it is.
    pub(super) fn perturb(
        &self,
        crafting: &Option<E::Frozen>,
        batch: &Batch,
        draw: StepDraw,
    ) -> Result<Images, TrainError> {
        if batch.images.count == 0 {
            return Ok(batch.images.clone());
        }
        let StepDraw { stream, step, rank } = draw;
        let stream = AttackStream { stream, time: step, rank, first_restart: 0 };
        let failed = |source: AttackError| TrainError::Attack {
            step: u64::from(step),
            source: Box::new(source),
        };
        let attack = &self.plan.attack;
        let perturbed = match crafting {
            Some(frozen) => perturb_in_tiles(frozen, attack, batch, &stream).map_err(failed)?.0,
            None => {
                let domain = self.plan.crafting.domain;
                let mut victim = BatchVictim::new(self.engine, &self.network, domain);
                attack.perturb(&mut victim, batch, &stream).map_err(failed)?
            }
        };
        Ok(perturbed.images)
    }

    /// The gradient of no images, by learnt parameter.
    fn zeros(&self) -> impl Iterator<Item = (usize, Vec<f32>)> + '_ {
        let learnt = self.network.parameters.iter().enumerate();
        learnt.filter(|(_, p)| p.role.is_learnt()).map(|(at, p)| (at, vec![0.0; p.values.len()]))
    }

    /// A finite gradient may still move a parameter out of range: no checkpoint may ever hold such a network.
    fn check_network(&self, step: u64) -> Result<(), TrainError> {
        let all: Vec<&Parameter> = self.network.parameters.iter().collect();
        // Without an early end first: that vectorises, and nearly always nothing is found.
        let is_broken = |parameter: &&Parameter| {
            parameter.values.iter().fold(false, |broken, value| broken | !value.is_finite())
        };
        for parameter in all.into_par_iter().filter(is_broken).collect::<Vec<_>>() {
            let broken = parameter.values.iter().find(|value| !value.is_finite());
            let found = broken.map_or(0.0, |&value| f64::from(value));
            let node = || Some(parameter.name.rsplit_once('.')?.0.to_string());
            finite(step, || format!("parameter {} after its move", parameter.name), found)
                .map_err(|error| error.in_layer(node))?;
        }
        Ok(())
    }

    /// A loss far beyond that of guessing is the step before NaN.
    pub(super) fn bounded(&self, step: u64, loss: f64, batch: &Batch) -> Result<(), TrainError> {
        let guessing = (self.network.graph.classes as f64).ln();
        match self.plan.loss_limit {
            Some(limit) if batch.images.count > 0 && loss > limit * guessing => {
                let times = loss / guessing;
                let what = format!(
                    "the loss is {loss:.1}, {times:.0} times that of guessing, training.loss_limit is {limit}"
                );
                Err(Fault::error(step, what))
            }
            _ => Ok(()),
        }
    }

    /// Draws are keyed by worker: which rank stands for it changes nothing.
    pub(super) fn draw(&self, step: u64, worker: usize) -> StepDraw {
        let step = u32::try_from(step).expect("fewer than 2^32 steps");
        let rank = u32::try_from(worker).expect("fewer than 2^32 workers");
        StepDraw { stream: Stream::new(self.plan.seed), step, rank }
    }
}

/// Steps between two comparisons of the networks of all ranks: a hash of ResNet-18 takes as long as a hundredth of a step.
const COMPARED_EVERY: u64 = 50;

/// Which workers this rank stands for.
///
/// Errors: `Deal` where the ranks cannot share them equally.
pub fn deal(plan: &Plan, collective: &dyn Collective) -> Result<Deal, TrainError> {
    let (workers, ranks) = (plan.workers, collective.world_size());
    Deal::to_ranks(workers, collective.rank(), ranks).ok_or(TrainError::Deal { workers, ranks })
}

pub(super) fn finite(step: u64, part: impl Fn() -> String, found: f64) -> Result<(), TrainError> {
    if found.is_finite() {
        Ok(())
    } else {
        Err(Fault::error(step, format!("{} is {found}, which is not finite", part())))
    }
}

/// How many images were right, and how many were shown.
pub(super) fn right(shown: &Shown<'_>, labels: &[u32]) -> (usize, usize) {
    let Shown { positions, logits } = shown;
    let is_right = |(row, &position): (usize, &usize)| {
        prediction(Logits::row(logits, row)) == labels[position]
    };
    (positions.iter().enumerate().filter(|&pair| is_right(pair)).count(), positions.len())
}
