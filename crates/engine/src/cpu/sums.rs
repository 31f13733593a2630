//! Sums of a backward over all images, in order of their index: gradients of norms, offsets and gains, and what batch
//! statistics subtract.

use super::backward::Reverse;
use super::lower::{BatchParameters, Operation, Step};
use super::record::CpuRecording;
use crate::{MomentPool, PoolError};
use kernels::norm::BackwardCoefficients;
use network::{Network, Statistics};

/// Sums over images of one step.
pub(crate) struct Sums<'a> {
    pub recording: &'a CpuRecording,
    pub reverses: &'a [Reverse],
    pub index: usize,
    /// The ranks that share the batch, where others do.
    pub pool: Option<&'a dyn MomentPool>,
}

impl Sums<'_> {
    /// Writes the parameters' gradients and returns how a batch norm with batch statistics goes back.
    ///
    /// Errors: the pool's.
    pub fn finish(
        &self,
        network: &Network,
        wanted: bool,
        gradients: &mut [Vec<f32>],
    ) -> Result<Vec<Option<BackwardCoefficients>>, PoolError> {
        let program = &self.recording.program;
        let step = &program.steps[self.index];
        match &step.operation {
            Operation::Batch(layer) => {
                let norm = layer.norm;
                if wanted {
                    let found = self.by_branch(layer.affine.len(), step, |d| norm.affine_branch(d));
                    for (&(gamma, beta), (gradient, product)) in layer.affine.iter().zip(found) {
                        store(&product, &mut gradients[gamma.0]);
                        store(&gradient, &mut gradients[beta.0]);
                    }
                }
                if self.recording.statistics == Statistics::Batch {
                    return self.batch_coefficients(network, layer, step);
                }
            }
            Operation::Group { weight, bias, .. } if wanted => {
                let (gradient, product) = self.by_branch(1, step, |_| 0).swap_remove(0);
                store(&product, &mut gradients[weight.0]);
                store(&gradient, &mut gradients[bias.0]);
            }
            Operation::Convolution { bias: Some(bias), .. } if wanted => {
                let (gradient, _) = self.by_branch(1, step, |_| 0).swap_remove(0);
                store(&gradient, &mut gradients[bias.0]);
            }
            Operation::Gain { gain } if wanted => {
                let images = self.reverses.iter().flat_map(|reverse| &reverse.sums[self.index]);
                gradients[gain.0][0] = images.sum::<f64>() as f32;
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Every image's sums in order of its index, with its domain.
    fn images<'a>(
        &'a self,
        step: &Step,
    ) -> impl Iterator<Item = (usize, &'a [f64], &'a [f64])> + 'a {
        let stride = self.recording.program.values[step.output].stride;
        let all = self.reverses.iter().flat_map(move |reverse| {
            reverse.sums[self.index]
                .chunks_exact(2 * stride)
                .map(move |image| image.split_at(stride))
        });
        let domains = self.recording.domains.iter();
        all.zip(domains).map(|((gradient, product), &domain)| (domain, gradient, product))
    }

    fn by_branch(
        &self,
        branches: usize,
        step: &Step,
        branch: impl Fn(usize) -> usize,
    ) -> Vec<(Vec<f64>, Vec<f64>)> {
        let stride = self.recording.program.values[step.output].stride;
        let mut sums = vec![(vec![0.0; stride], vec![0.0; stride]); branches];
        for (domain, gradient, product) in self.images(step) {
            let (gradients, products) = &mut sums[branch(domain)];
            gradients.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
            products.iter_mut().zip(product).for_each(|(sum, x)| *sum += x);
        }
        sums
    }

    fn batch_coefficients(
        &self,
        network: &Network,
        layer: &BatchParameters,
        step: &Step,
    ) -> Result<Vec<Option<BackwardCoefficients>>, PoolError> {
        let state = self.recording.batch[self.index].as_ref();
        let state = state.expect("the forward has found the statistics");
        let channels = layer.norm.channels;
        // Means of dxhat and dxhat * xhat over each statistics branch; images may differ in gamma.
        let mut means = vec![(vec![0.0; channels], vec![0.0; channels]); layer.statistics.len()];
        for (domain, gradient, product) in self.images(step) {
            let branch = layer.norm.statistics_branch(domain);
            let count = state.moments[branch].as_ref().map_or(1, |moments| moments.count);
            let gamma =
                &network.parameters[layer.affine[layer.norm.affine_branch(domain)].0].values;
            let (gradients, products) = &mut means[branch];
            for channel in 0..channels {
                let factor = f64::from(gamma[channel]) / count as f64;
                gradients[channel] += factor * gradient[channel];
                products[channel] += factor * product[channel];
            }
        }
        if let Some(pool) = self.pool {
            of_all(pool, &mut means)?;
        }
        let domains = 0..layer.norm.domains;
        let back = domains.zip(&state.coefficients).map(|(domain, forward)| {
            let (gradient, product) = &means[layer.norm.statistics_branch(domain)];
            forward.as_ref().map(|forward| forward.backward(gradient, product))
        });
        Ok(back.collect())
    }
}

/// Means over the images of all ranks, added in their order: each rank's are its images' part already.
fn of_all(pool: &dyn MomentPool, means: &mut [(Vec<f64>, Vec<f64>)]) -> Result<(), PoolError> {
    let own: Vec<f64> = means
        .iter()
        .flat_map(|(gradient, product)| gradient.iter().chain(product))
        .copied()
        .collect();
    let mut sums = vec![0.0; own.len()];
    for rank in pool.gather(&own)? {
        sums.iter_mut().zip(rank).for_each(|(sum, x)| *sum += x);
    }
    let mut rest = sums.into_iter();
    for (gradient, product) in means {
        gradient.iter_mut().chain(product).zip(&mut rest).for_each(|(mean, sum)| *mean = sum);
    }
    Ok(())
}

fn store(sums: &[f64], gradient: &mut [f32]) {
    gradient.iter_mut().zip(sums).for_each(|(gradient, &sum)| *gradient = sum as f32);
}
