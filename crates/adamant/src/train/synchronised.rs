//! A step with synchronised batch norm: the images of all workers normalise as one batch.
//!
//! A rank shows the images of all its workers in one forward; in every batch norm, forward and backward, the ranks meet.
//! So that none waits in vain for one that failed, they tell each other how they fared before both. Sums are in the order
//! of ranks, not of workers: runs on other numbers of ranks differ by rounding.

use super::buckets::Gathering;
use super::error::TrainError;
use super::fault;
use super::forward::{Answers, forward, forward_pooled};
use super::meeting::{Own, Told, together};
use super::sections::FrozenStatistics;
use super::trainer::{Trainer, deal, finite, right};
use crate::image::{Batch, Images, Logits};
use crate::objective::{Demand, Loss, Shown, StepLogits};
use collective::{Collective, CollectiveError};
use engine::{Engine, EngineError, MomentPool, PoolError};
use network::Statistics;
use std::ops::Range;

/// One worker's images, and which of the forward's are its.
struct Share {
    batch: Batch,
    demand: Demand,
    clean: Range<usize>,
    adversarial: Range<usize>,
}

/// What a rank shows.
struct Showing {
    shares: Vec<Share>,
    clean: Images,
    adversarial: Images,
}

impl<E: Engine> Trainer<'_, E> {
    /// What this rank's workers do, as one.
    pub(super) fn work_as_one(
        &self,
        batch: &Batch,
        parts: &[usize],
        step: u64,
        epoch: u32,
        gradients: &mut Gathering<'_>,
    ) -> Result<Own, TrainError> {
        let ranks = self.collective;
        let agreed = |error| fault::explain(error, self, batch);
        let prepared = self.prepare(batch, parts, step).map_err(agreed);
        let (showing, _) = together(ranks, prepared, |_| Vec::new())?;
        let failed = |source| failure(step, source);
        let pool = Ranks(ranks);
        let kind = self.plan.forward;
        let images = (&showing.clean, &showing.adversarial);
        let pooled = || forward_pooled(self.engine, &self.network, &pool, images, kind);
        let phase = self.plan.consistent_in(epoch);
        let (answers, pool) = match phase {
            None => (pooled().map_err(failed)?, Some(&pool as &dyn MomentPool)),
            // Images do not depend on each other: nobody has to meet.
            Some(_) => {
                let (clean, adversarial) = images;
                let statistics = Statistics::Running;
                let answers =
                    forward(self.engine, &self.network, clean, adversarial, kind, statistics);
                (answers.map_err(failed)?, None)
            }
        };
        let compared = self.compare_with_labels(&showing, &answers, step).map_err(agreed);
        let ((told, loss), _) = together(ranks, compared, |_| Vec::new())?;
        let mut add = |position, gradient| gradients.add(1, position, gradient);
        answers.backward(self.engine, &self.network, pool, &loss, &mut add).map_err(failed)?;
        let moments = match phase.map(|phase| phase.statistics) {
            None => answers.moments(kind),
            Some(FrozenStatistics::Frozen) => Vec::new(),
            Some(FrozenStatistics::Ema) => pooled().map_err(failed)?.moments(kind),
        };
        Ok(Own { told, moments: vec![moments] })
    }

    /// The images of all this rank's workers, attacked where they have to be; draws are those of each worker.
    fn prepare(&self, batch: &Batch, parts: &[usize], step: u64) -> Result<Showing, TrainError> {
        let deal = deal(self.plan, self.collective)?;
        let crafting = self.freeze(step)?;
        let none = Images::zeros(0, batch.images.shape);
        let mut showing = Showing { shares: Vec::new(), clean: none.clone(), adversarial: none };
        let mut first = 0;
        for (worker, &images) in deal.own().zip(parts) {
            let positions: Vec<usize> = (first..first + images).collect();
            first += images;
            let (batch, draw) = (batch.select(&positions), self.draw(step, worker));
            let demand = match images {
                0 => Demand { clean: Vec::new(), adversarial: Vec::new() },
                _ => self.plan.objective.demand(images, &draw),
            };
            let attacked = self.perturb(&crafting, &batch.select(&demand.adversarial), draw)?;
            let clean = append(&mut showing.clean, &batch.images.select(&demand.clean));
            let adversarial = append(&mut showing.adversarial, &attacked);
            showing.shares.push(Share { batch, demand, clean, adversarial });
        }
        Ok(showing)
    }

    /// What each worker tells, and the sum of all losses, each times the worker's images.
    fn compare_with_labels<R>(
        &self,
        showing: &Showing,
        answers: &Answers<R>,
        step: u64,
    ) -> Result<(Vec<Told>, Loss), TrainError> {
        let (classes, parts) = (self.network.graph.classes, Vec::new());
        let none = || Logits::zeros(0, classes);
        let mut all = Loss { total: 0.0, parts, by_clean: none(), by_adversarial: none() };
        let mut told = Vec::new();
        for Share { batch, demand, clean, adversarial } in &showing.shares {
            let images = batch.images.count;
            if images == 0 {
                told.push(Told::default());
                continue;
            }
            let clean = rows(&answers.clean, clean);
            let adversarial = rows(&answers.adversarial, adversarial);
            let logits = StepLogits {
                labels: &batch.labels,
                clean: Shown { positions: &demand.clean, logits: &clean },
                adversarial: Shown { positions: &demand.adversarial, logits: &adversarial },
            };
            let loss = self.plan.objective.loss(&logits);
            for part in &loss.parts {
                finite(step, || format!("the {} loss", part.name), part.value)?;
            }
            self.bounded(step, loss.total, batch)?;
            told.push(Told {
                clean: right(&logits.clean, logits.labels),
                adversarial: right(&logits.adversarial, logits.labels),
                ..Told::of_loss(images, loss.total, &loss.parts)
            });
            let weighted = |into: &mut Logits, from: &Logits| {
                into.values.extend(from.values.iter().map(|by_one| by_one * images as f32));
                into.count += from.count;
            };
            weighted(&mut all.by_clean, &loss.by_clean);
            weighted(&mut all.by_adversarial, &loss.by_adversarial);
        }
        Ok((told, all))
    }
}

/// The ranks, as batch norms see them.
struct Ranks<'a>(&'a dyn Collective);

impl MomentPool for Ranks<'_> {
    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>, PoolError> {
        const OPERATION: &str = "batch norm";
        let bytes: Vec<u8> = own.iter().flat_map(|value| value.to_le_bytes()).collect();
        let read = |(other, told): (usize, Vec<u8>)| {
            let (found, expected) = (told.len(), bytes.len());
            if found != expected {
                let operation = OPERATION;
                return Err(CollectiveError::Length { operation, other, found, expected });
            }
            let values = told.chunks_exact(8).map(|one| one.try_into().expect("eight bytes"));
            Ok(values.map(f64::from_le_bytes).collect())
        };
        let told = self.0.gather(OPERATION, &bytes);
        let all = told.and_then(|told| told.into_iter().enumerate().map(read).collect());
        all.map_err(|error| PoolError(Box::new(error)))
    }
}

/// Ranks that do not meet are no fault of the engine.
fn failure(step: u64, source: EngineError) -> TrainError {
    if let EngineError::Pool(PoolError(error)) = &source
        && let Some(error) = error.downcast_ref::<CollectiveError>()
    {
        return error.clone().into();
    }
    TrainError::Engine { step, source: Box::new(source) }
}

/// Adds images and says where they are.
fn append(all: &mut Images, some: &Images) -> Range<usize> {
    let first = all.count;
    all.pixels.extend_from_slice(&some.pixels);
    all.count += some.count;
    first..all.count
}

fn rows(logits: &Logits, rows: &Range<usize>) -> Logits {
    let classes = logits.classes;
    let values = logits.values[rows.start * classes..rows.end * classes].to_vec();
    Logits { count: rows.len(), classes, values }
}
