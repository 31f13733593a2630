//! A training step without numbers: the allocations of `record` and `backward`, in their order.
//!
//! All chunks are taken to be at the same step, which is where they meet; between two meetings a few of them run ahead,
//! so what is counted is never less than what is held.

use super::super::CpuEngine;
use super::super::lower::{Operation, Program};
use super::super::schedule::{Part, Weighted, backward_stretches, chunk_images, measured, wanted};
use super::super::segments::{Kept, Retention, Segment, makes_mask, run_again};
use super::MemoryBudget;
use super::ledger::{Kind, Ledger};
use super::sizes::{Sizes, packed_backward, packed_forward};
use crate::Wants;
use network::{Activation, Statistics};
use std::ops::Range;

/// What every simulation of one pass shares.
pub(crate) struct Simulation<'a> {
    pub program: &'a Program,
    pub sizes: Sizes<'a>,
    pub readers: Vec<Option<(usize, usize)>>,
    /// What a backward reads.
    pub all: Kept,
    statistics: Statistics,
    measured: Vec<bool>,
    wanted: Vec<bool>,
    parameters: bool,
}

/// Bytes of one pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Kept between forward and backward.
    pub recording: u64,
    /// The most during the forward.
    pub record: u64,
    /// The most during the backward.
    pub backward: u64,
}

/// A pass under way.
struct State {
    ledger: Ledger,
    /// By value: whether its numbers, its mask, its gradient are held beside the recording.
    values: Vec<bool>,
    masks: Vec<bool>,
    gradients: Vec<bool>,
}

impl<'a> Simulation<'a> {
    pub fn new(
        engine: &CpuEngine,
        program: &'a Program,
        domains: &'a [usize],
        statistics: Statistics,
        wants: Wants,
    ) -> Self {
        let chunk_images = chunk_images(program).min(domains.len().max(1));
        Self {
            program,
            sizes: Sizes {
                program,
                domains,
                chunks: domains.len().div_ceil(chunk_images),
                chunk_images,
                threads: engine.pool.current_num_threads(),
                half: engine.half_program(program, chunk_images),
            },
            readers: program.readers(),
            all: Kept::all(program, Weighted::Yes),
            statistics,
            measured: measured(program, statistics),
            wanted: wanted(program, wants),
            parameters: wants != Wants::Input,
        }
    }

    /// Forward and backward in `segments`; with a budget the pool is emptied after each.
    pub fn run(&self, segments: &[Segment], budget: Option<MemoryBudget>) -> Found {
        let nothing = || vec![false; self.program.values.len()];
        let mut state = State {
            ledger: Ledger::default(),
            values: nothing(),
            masks: nothing(),
            gradients: nothing(),
        };
        let kept = Kept::between(self.program, segments);
        let recording = self.recording(&kept);
        // Recordings made before this one.
        let others = budget.map_or(0, |budget| budget.recordings.max(1) as u64 - 1) * recording;
        state.ledger.hold(others);
        self.record(&mut state, segments, &kept, budget.is_some());
        let record = state.ledger.take_peak();
        self.backward(&mut state, segments, &kept, budget.is_some());
        Found { recording, record, backward: state.ledger.take_peak() }
    }

    /// Multiply-adds of the convolutions of some steps, for one image.
    pub fn macs(&self, steps: Range<usize>) -> u64 {
        let macs = |index: usize| match &self.program.steps[index].operation {
            Operation::Convolution { shape, .. } => shape.flops() / 2,
            _ => 0,
        };
        steps.map(macs).sum()
    }

    fn recording(&self, kept: &Kept) -> u64 {
        let sizes = &self.sizes;
        let batch = self.statistics == Statistics::Batch;
        let mut bytes =
            if kept.values[self.program.input] { sizes.value(self.program.input) } else { 0 };
        for (index, step) in self.program.steps.iter().enumerate() {
            let output = step.output;
            bytes += if kept.values[output] { sizes.value(output) } else { 0 };
            bytes += if kept.masks[output] && makes_mask(step) { sizes.mask(output) } else { 0 };
            bytes += if kept.steps[index] { sizes.state(step) } else { 0 };
            bytes += sizes.batch_state(step, batch);
        }
        bytes
    }

    fn record(&self, state: &mut State, segments: &[Segment], kept: &Kept, lean: bool) {
        let batch = self.statistics == Statistics::Batch;
        state.ledger.take(Kind::Numbers, self.sizes.value(self.program.input));
        state.values[self.program.input] = true;
        for segment in segments {
            let packed = self.packed(segment.steps.clone(), packed_forward);
            state.ledger.hold(packed);
            for index in segment.steps.clone() {
                let step = &self.program.steps[index];
                state.ledger.hold(self.sizes.batch_state(step, batch));
                if self.measured[step.output] {
                    state.ledger.hold(self.sizes.measured(step.output));
                }
                self.forward(state, index, kept);
                let last = self.readers[step.input].is_some_and(|(_, last)| last == index);
                if matches!(step.operation, Operation::Batch(_)) && last && batch {
                    state.ledger.release(self.sizes.measured(step.input));
                }
            }
            state.ledger.release(packed);
            if lean {
                state.ledger.clear();
            }
        }
    }

    /// As `Chunk::forward`.
    fn forward(&self, state: &mut State, index: usize, keep: &Kept) {
        let step = &self.program.steps[index];
        let output = step.output;
        let smooth = step.activation.is_some_and(|it| it != Activation::Relu);
        state.ledger.take(Kind::Numbers, self.sizes.value(output));
        state.values[output] = true;
        if makes_mask(step) && keep.masks[output] {
            state.ledger.take(Kind::Masks, self.sizes.mask(output));
            state.masks[output] = true;
        }
        let extra = self.sizes.scratch(step) + self.sizes.state(step);
        state.ledger.hold(extra);
        if smooth {
            state.ledger.take(Kind::Numbers, self.sizes.value(output));
            state.ledger.give(Kind::Numbers, self.sizes.value(output));
        }
        state.ledger.release(self.sizes.scratch(step));
        if !keep.steps[index] {
            state.ledger.release(self.sizes.state(step));
        }
        for read in step.reads() {
            let last = self.readers[read].is_some_and(|(_, last)| last == index);
            if last && !keep.values[read] && std::mem::take(&mut state.values[read]) {
                state.ledger.give(Kind::Numbers, self.sizes.value(read));
            }
        }
    }

    fn backward(&self, state: &mut State, segments: &[Segment], kept: &Kept, lean: bool) {
        // What the recording holds stays; only what is beside it comes and goes.
        state.values.fill(false);
        state.masks.fill(false);
        for segment in segments.iter().rev() {
            let mut states = 0;
            if segment.retention == Retention::Recomputed {
                let packed = self.packed(segment.steps.clone(), packed_forward);
                state.ledger.hold(packed);
                for index in run_again(self.program, &self.readers, kept, segment) {
                    self.forward(state, index, &self.all);
                    states += self.sizes.state(&self.program.steps[index]);
                }
                state.ledger.release(packed);
            }
            let packed = self.packed(segment.steps.clone(), packed_backward);
            state.ledger.hold(packed);
            if segment.steps.end == self.program.steps.len() {
                self.receive(state, self.program.output);
            }
            for stretch in backward_stretches(self.program, self.statistics, segment.steps.clone())
            {
                for part in &stretch {
                    if let Part::Apply(index) = *part {
                        self.apply(state, index);
                    }
                }
                for part in &stretch {
                    if let Part::Apply(index) = *part {
                        self.accumulate(state, index);
                    }
                }
            }
            state.ledger.release(packed + states);
            for index in segment.steps.clone() {
                let output = self.program.steps[index].output;
                if std::mem::take(&mut state.values[output]) {
                    state.ledger.give(Kind::Numbers, self.sizes.value(output));
                }
                if std::mem::take(&mut state.masks[output]) {
                    state.ledger.give(Kind::Masks, self.sizes.mask(output));
                }
            }
            if lean {
                state.ledger.clear();
            }
        }
    }

    /// A gradient by a value is there from now on.
    fn receive(&self, state: &mut State, value: usize) {
        if !std::mem::replace(&mut state.gradients[value], true) {
            state.ledger.take(Kind::Numbers, self.sizes.gradient(value));
        }
    }

    /// As `Backward::apply`.
    fn apply(&self, state: &mut State, index: usize) {
        let step = &self.program.steps[index];
        if !std::mem::take(&mut state.gradients[step.output]) {
            return;
        }
        let by_output = self.sizes.gradient(step.output);
        let scratch = self.sizes.scratch(step);
        let has_weights = self.has_weights(index);
        let mut moved = false;
        state.ledger.hold(scratch);
        for read in step.reads().filter(|&read| self.wanted[read]) {
            let overwrites = read == step.input
                && !matches!(step.operation, Operation::Convolution { .. } | Operation::Identity);
            let first = !state.gradients[read];
            let last_use = step.add.is_none_or(|add| add == read || !self.wanted[add]);
            let passes = read != step.input || matches!(step.operation, Operation::Identity);
            if first && passes && last_use && !has_weights && !moved {
                // The buffer itself is handed on.
                moved = true;
                state.gradients[read] = true;
            } else if first {
                self.receive(state, read);
            } else if overwrites {
                state.ledger.take(Kind::Numbers, self.sizes.gradient(read));
                state.ledger.give(Kind::Numbers, self.sizes.gradient(read));
            }
        }
        state.ledger.release(scratch);
        if !has_weights && !moved {
            state.ledger.give(Kind::Numbers, by_output);
        }
    }

    /// As `weight_gradient::accumulate`.
    fn accumulate(&self, state: &mut State, index: usize) {
        let step = &self.program.steps[index];
        if !self.has_weights(index) {
            return;
        }
        if let Operation::Convolution { shape, .. } = &step.operation {
            let sums = self.sizes.weight_sums(shape);
            sums.iter().for_each(|&bytes| state.ledger.take(Kind::Numbers, bytes));
            sums.iter().for_each(|&bytes| state.ledger.give(Kind::Numbers, bytes));
        }
        state.ledger.give(Kind::Numbers, self.sizes.gradient(step.output));
    }

    fn has_weights(&self, index: usize) -> bool {
        let operation = &self.program.steps[index].operation;
        self.parameters
            && matches!(operation, Operation::Convolution { .. } | Operation::Linear { .. })
    }

    fn packed(&self, steps: Range<usize>, bytes: fn(&super::super::lower::Step) -> u64) -> u64 {
        self.program.steps[steps].iter().map(|step| self.sizes.packed(step, bytes)).sum()
    }
}
