//! The backward of a training step: all chunks through all segments, last first.
//!
//! Chunks go backward through the steps on their own; they meet before a batch norm whose gradient depends on sums over
//! the batch, and where weight gradients are summed. Every sum over images has the order of their index.

use super::CpuEngine;
use super::backward::{Backward, Reverse};
use super::border;
use super::chunk::{Chunk, Keep};
use super::record::CpuRecording;
use super::schedule::{Part, backward_stretches, wanted};
use super::segments::Retention;
use super::sums::Sums;
use super::weight_gradient;
use super::weights::{Direction, Weights};
use crate::{EngineError, Gradients, Logits, MomentPool, Wants};
use network::{Network, Parameter, ParameterId};
use rayon::prelude::*;

/// What becomes of a parameter's gradient once it is complete.
pub(crate) enum Finished<'a> {
    /// It stays where it is.
    Kept,
    /// It is handed out at once.
    HandedTo(&'a mut (dyn FnMut(ParameterId, Vec<f32>) + Send)),
}

impl Finished<'_> {
    /// The gradients of some parameters are complete.
    fn tell(&mut self, ids: impl Iterator<Item = ParameterId>, gradients: &mut [Vec<f32>]) {
        if let Self::HandedTo(take) = self {
            for id in ids {
                let gradient = std::mem::take(&mut gradients[id.0]);
                // Statistics have none, and what was handed out is empty.
                if !gradient.is_empty() {
                    take(id, gradient);
                }
            }
        }
    }
}

impl CpuEngine {
    /// The body of [`crate::Engine::backward`], on the engine's pool.
    pub(crate) fn backward_on_pool(
        &self,
        network: &Network,
        recording: &CpuRecording,
        logit_gradient: &Logits,
        wants: Wants,
        mut finished: Finished<'_>,
        pool: Option<&dyn MomentPool>,
    ) -> Result<Gradients, EngineError> {
        let program = &recording.program;
        border::check_logits("backward", logit_gradient, recording.count, program.classes)?;
        let parameters = wants != Wants::Input;
        let mut gradients = Gradients { parameters: Vec::new(), input: Vec::new() };
        if parameters {
            gradients.parameters = self.zero_gradients(network);
        }
        let mut chunks: Vec<Chunk<'_>> =
            recording.chunks.iter().map(|chunk| Chunk::over(program, chunk)).collect();
        let mut reverses: Vec<Reverse> = Vec::new();
        for segment in recording.segments.iter().rev() {
            if segment.retention == Retention::Recomputed {
                recording.recompute(self, network, segment, &mut chunks);
            }
            let steps = segment.steps.clone();
            let half = recording.half_packing();
            let direction = Direction::BackwardData;
            let weights = Weights::of_training(network, program, half, steps.clone(), direction);
            let mut backward = Backward {
                context: recording.context(self, network, &weights, Keep::Nothing),
                chunk_images: recording.chunk_images,
                wanted: wanted(program, wants),
                parameters,
                statistics: recording.statistics,
                norms: vec![Vec::new(); program.steps.len()],
            };
            if reverses.is_empty() {
                let start = |chunk| backward.start(chunk, logit_gradient);
                reverses = chunks.iter().map(start).collect();
            }
            for stretch in backward_stretches(program, recording.statistics, steps.clone()) {
                backward.run(self, &stretch, &chunks, &mut reverses);
                for part in stretch {
                    match part {
                        Part::Reduce(index) => {
                            let sums = Sums { recording, reverses: &reverses, index, pool };
                            backward.norms[index] =
                                sums.finish(network, parameters, &mut gradients.parameters)?;
                        }
                        Part::Apply(index) if parameters => {
                            let by_parameter = &mut gradients.parameters;
                            weight_gradient::accumulate(
                                self,
                                recording.half.as_deref(),
                                program,
                                &chunks,
                                &mut reverses,
                                index,
                                by_parameter,
                            );
                            // No other step has these parameters.
                            finished.tell(program.steps[index].parameters(), by_parameter);
                        }
                        Part::Apply(_) => {}
                    }
                }
            }
            for chunk in &mut chunks {
                chunk.free_steps(program, steps.clone(), &self.shared.buffers);
            }
            weights.free(&self.shared.buffers);
            self.end_segment();
        }
        // Parameters of nodes that no logit depends on: their gradient is zero.
        let all = (0..gradients.parameters.len()).rev().map(ParameterId);
        finished.tell(all, &mut gradients.parameters);
        if wants != Wants::Parameters {
            gradients.input = input_gradient(recording, logit_gradient, &reverses);
        }
        for reverse in reverses {
            reverse.gradients.into_iter().for_each(|buffer| self.shared.buffers.give(buffer));
            reverse.cells.into_iter().for_each(|cells| self.shared.buffers.give_cells(cells));
        }
        Ok(gradients)
    }
}

impl CpuEngine {
    fn zero_gradients(&self, network: &Network) -> Vec<Vec<f32>> {
        let parameters: Vec<&Parameter> = network.parameters.iter().collect();
        let zero = |parameter: &Parameter| match parameter.role.is_learnt() {
            true => {
                let mut gradient = self.shared.buffers.take(parameter.values.len());
                gradient.fill(0.0);
                gradient
            }
            false => Vec::new(),
        };
        parameters.into_par_iter().map(zero).collect()
    }
}

/// The gradient by the pixels, image by image.
fn input_gradient(
    recording: &CpuRecording,
    logit_gradient: &Logits,
    reverses: &[Reverse],
) -> Vec<f32> {
    let program = &recording.program;
    let image = program.input_shape.len();
    let mut pixels = vec![0.0; recording.count * image];
    let rows = pixels.chunks_mut(recording.chunk_images * image);
    let by_logits = logit_gradient.values.chunks(recording.chunk_images * program.classes);
    for ((rows, by_logits), reverse) in rows.zip(by_logits).zip(reverses) {
        let gradient = &reverse.gradients[program.input];
        if !gradient.is_empty() {
            border::store_input_gradient(program, gradient, by_logits, rows);
        }
    }
    pixels
}
