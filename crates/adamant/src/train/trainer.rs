//! One training step. It reads like the paper; begin with [`Trainer::step`].

use super::error::TrainError;
use super::fault::{self, Fault};
use super::forward::forward;
use super::plan::Plan;
use super::sections::FrozenStatistics;
use crate::attack::{Attack, AttackError, AttackStream, prediction};
use crate::image::{Batch, Images, Logits};
use crate::objective::{Shown, StepDraw, StepLogits};
use crate::optimizer::{Sgd, gradient_norm, non_finite_gradient};
use crate::schedule::Schedule;
use crate::stream::Stream;
use crate::victim::{BatchVictim, perturb_in_tiles};
use collective::Collective;
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

impl<E: Engine> Trainer<'_, E> {
    /// One step: attack, show, compare, go back, agree, move, absorb.
    ///
    /// Errors: a part that fails; `NonFinite`, naming part, layer and images, after which the network is not to be used
    /// (G32).
    pub fn step(&mut self, batch: &Batch, step: u64, epoch: u32) -> Result<StepReport, TrainError> {
        self.take(batch, step, epoch).map_err(|error| fault::explain(error, self, batch))
    }

    fn take(&mut self, batch: &Batch, step: u64, epoch: u32) -> Result<StepReport, TrainError> {
        let Plan { objective, forward: kind, .. } = self.plan;
        let demand = objective.demand(batch.images.count, &self.draw(step));
        let clean = batch.images.select(&demand.clean);
        // Constants of the training pass: no gradient flows back through the attack.
        let adversarial = self.perturb(&batch.select(&demand.adversarial), step)?;

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
        let mut gradients = answers.backward(self.engine, &self.network, &loss).map_err(failed)?;
        for gradient in &mut gradients {
            self.collective.mean(gradient)?;
        }
        let norm = gradient_norm(&gradients);
        let worst = || non_finite_gradient(&self.network.parameters, &gradients);
        finite(step, || format!("the gradient of {}", worst().unwrap_or("the loss")), norm)
            .map_err(|error| error.in_layer(|| Some(worst()?.rsplit_once('.')?.0.to_string())))?;

        let moments = match phase.map(|phase| phase.statistics) {
            None => answers.moments(),
            Some(FrozenStatistics::Frozen) => Vec::new(),
            // Running statistics normalise, so the moments come from a forward of their own.
            Some(FrozenStatistics::Ema) => show(Statistics::Batch).map_err(failed)?.moments(),
        };
        let report = StepReport {
            loss: loss.total,
            loss_clean: loss.part("clean"),
            loss_adversarial: loss.part("adversarial"),
            accuracy_clean: accuracy(&logits.clean, logits.labels),
            accuracy_adversarial: accuracy(&logits.adversarial, logits.labels),
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
        Ok(report)
    }

    /// Adversarial images for `batch`, crafted against the network as it is; nothing of it changes (T2).
    fn perturb(&self, batch: &Batch, step: u64) -> Result<Images, TrainError> {
        if batch.images.count == 0 {
            return Ok(batch.images.clone());
        }
        let StepDraw { stream, step: time, rank } = self.draw(step);
        let stream = AttackStream { stream, time, rank, first_restart: 0 };
        let crafting = self.plan.crafting;
        let failed = |source: AttackError| TrainError::Attack { step, source: Box::new(source) };
        let perturbed = match crafting.statistics {
            Statistics::Running => {
                let precision = self.engine.training_precision();
                let frozen = self
                    .engine
                    .freeze(&self.network, crafting.domain, precision)
                    .map_err(|source| TrainError::Engine { step, source: Box::new(source) })?;
                perturb_in_tiles(&frozen, &self.plan.attack, batch, &stream).map_err(failed)?.0
            }
            Statistics::Batch => {
                let mut victim = BatchVictim::new(self.engine, &self.network, crafting.domain);
                self.plan.attack.perturb(&mut victim, batch, &stream).map_err(failed)?
            }
        };
        Ok(perturbed.images)
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
    fn bounded(&self, step: u64, loss: f64, batch: &Batch) -> Result<(), TrainError> {
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

    fn draw(&self, step: u64) -> StepDraw {
        let step = u32::try_from(step).expect("fewer than 2^32 steps");
        let rank = u32::try_from(self.collective.rank()).expect("fewer than 2^32 ranks");
        StepDraw { stream: Stream::new(self.plan.seed), step, rank }
    }
}

fn finite(step: u64, part: impl Fn() -> String, found: f64) -> Result<(), TrainError> {
    if found.is_finite() {
        Ok(())
    } else {
        Err(Fault::error(step, format!("{} is {found}, which is not finite", part())))
    }
}

fn accuracy(shown: &Shown<'_>, labels: &[u32]) -> Option<f64> {
    let Shown { positions, logits } = shown;
    let is_right = |(row, &position): (usize, &usize)| {
        prediction(Logits::row(logits, row)) == labels[position]
    };
    let right = positions.iter().enumerate().filter(|&pair| is_right(pair)).count();
    (!positions.is_empty()).then(|| right as f64 / positions.len() as f64)
}
