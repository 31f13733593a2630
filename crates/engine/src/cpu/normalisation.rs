//! Normalisation as numbers per channel: what a forward multiplies with, what a backward subtracts.
//!
//! Every sum over images is taken image by image in index order, so neither threads nor tiles change a bit. Moments are
//! centred per image and merged exactly (Chan et al. 1983), since `E[x^2] - E[x]^2` loses all digits at mean 1e3.

use super::lower::{BatchParameters, Operation, Program, Step};
use crate::{MomentPool, PoolError};
use kernels::norm::{Affine, BackwardCoefficients};
use network::{Network, ParameterId};

/// `(x - centre) * scale + shift` normalises; `mean` and `inverse` (one over the deviation) are kept for the backward.
#[derive(Clone, Debug)]
pub(crate) struct Coefficients {
    pub mean: Vec<f64>,
    pub inverse: Vec<f64>,
    pub centre: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

impl Coefficients {
    /// Padded to `stride` with channels that give zero.
    pub fn new(
        stride: usize,
        epsilon: f32,
        mean: impl Iterator<Item = f64>,
        variance: impl Iterator<Item = f64>,
        gamma: &[f32],
        beta: &[f32],
    ) -> Self {
        let mut new = Self {
            mean: vec![0.0; stride],
            inverse: vec![0.0; stride],
            centre: vec![0.0; stride],
            scale: vec![0.0; stride],
            shift: vec![0.0; stride],
        };
        for (channel, (mean, variance)) in mean.zip(variance).enumerate() {
            let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
            let scale = f64::from(gamma[channel]) * inverse;
            new.mean[channel] = mean;
            new.inverse[channel] = inverse;
            new.centre[channel] = mean as f32;
            new.scale[channel] = scale as f32;
            // The mean was rounded to f32: the rest of it belongs to the summand.
            let rest = mean - f64::from(mean as f32);
            new.shift[channel] = (f64::from(beta[channel]) - rest * scale) as f32;
        }
        new
    }

    /// A fixed factor and summand per channel.
    pub fn fixed(stride: usize, scale: &[f32], shift: &[f32]) -> Self {
        let pad = |values: &[f32]| {
            let mut padded = values.to_vec();
            padded.resize(stride, 0.0);
            padded
        };
        Self {
            mean: vec![0.0; stride],
            inverse: vec![0.0; stride],
            centre: vec![0.0; stride],
            scale: pad(scale),
            shift: pad(shift),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(self.mean.len())
    }

    /// Bytes that the coefficients of `stride` channels take.
    pub fn bytes_of(stride: usize) -> usize {
        stride * (2 * size_of::<f64>() + 3 * size_of::<f32>())
    }

    /// What the forward applies.
    pub fn affine(&self) -> Affine<'_> {
        Affine { centre: &self.centre, factor: &self.scale, shift: &self.shift }
    }

    /// What a gradient is multiplied with where the statistics are constants; `zeros` are of the same length.
    pub fn slope<'a>(&'a self, zeros: &'a [f32]) -> Affine<'a> {
        Affine { centre: zeros, factor: &self.scale, shift: zeros }
    }

    /// The backward where the statistics are constants: the gradient is scaled and that is all.
    pub fn backward_constant(&self) -> BackwardCoefficients {
        BackwardCoefficients {
            gradient_factor: self.scale.clone(),
            input_factor: vec![0.0; self.scale.len()],
            mean: self.centre.clone(),
            shift: vec![0.0; self.scale.len()],
        }
    }

    /// The backward where the statistics are those of the values: `gradient` and `product` are the means of `dxhat`
    /// and `dxhat * xhat` over all that share them.
    ///
    /// Source: Ioffe & Szegedy 2015, `dx = (dxhat - mean(dxhat) - xhat mean(dxhat xhat)) / deviation`.
    pub fn backward(&self, gradient: &[f64], product: &[f64]) -> BackwardCoefficients {
        let mut new = self.backward_constant();
        for channel in 0..gradient.len() {
            let inverse = self.inverse[channel];
            let slope = -inverse * inverse * product[channel];
            // The mean was rounded to f32: the rest of it belongs to the summand.
            let rest = self.mean[channel] - f64::from(new.mean[channel]);
            new.input_factor[channel] = slope as f32;
            new.shift[channel] = (-inverse * gradient[channel] - slope * rest) as f32;
        }
        new
    }
}

/// Count, mean and centred squares per channel, merged image by image.
#[derive(Clone, Debug)]
pub(crate) struct MergedMoments {
    pub count: usize,
    pub mean: Vec<f64>,
    pub squares: Vec<f64>,
}

impl MergedMoments {
    pub fn new(channels: usize) -> Self {
        Self { count: 0, mean: vec![0.0; channels], squares: vec![0.0; channels] }
    }

    /// Adds the values of one image: their number per channel, means and centred squares.
    pub fn merge(&mut self, count: usize, mean: &[f64], squares: &[f64]) {
        let before = self.count as f64;
        self.count += count;
        let share = count as f64 / self.count as f64;
        let old = self.mean.iter_mut().zip(&mut self.squares);
        for ((mean, squares), (new_mean, new_squares)) in old.zip(mean.iter().zip(squares)) {
            let delta = new_mean - *mean;
            *mean += delta * share;
            *squares += new_squares + delta * delta * before * share;
        }
    }

    /// What all ranks have seen, in their order, by branch; none where no rank has met an image.
    ///
    /// Errors: the pool's.
    pub fn of_all(
        pool: &dyn MomentPool,
        channels: usize,
        own: &[Option<Self>],
    ) -> Result<Vec<Option<Self>>, PoolError> {
        let width = 1 + 2 * channels;
        let mut told = Vec::with_capacity(own.len() * width);
        for branch in own {
            match branch {
                // A count is far below 2^53.
                Some(Self { count, mean, squares }) => {
                    told.push(*count as f64);
                    told.extend(mean.iter().chain(squares));
                }
                None => told.resize(told.len() + width, 0.0),
            }
        }
        let mut all = vec![None; own.len()];
        for rank in pool.gather(&told)? {
            for (merged, found) in all.iter_mut().zip(rank.chunks_exact(width)) {
                let (mean, squares) = found[1..].split_at(channels);
                if found[0] > 0.0 {
                    let merged = merged.get_or_insert_with(|| Self::new(channels));
                    merged.merge(found[0] as usize, mean, squares);
                }
            }
        }
        Ok(all)
    }

    /// Mean and biased variance over all channels as one: a group of a group norm.
    pub fn pooled(count: usize, mean: &[f64], squares: &[f64]) -> (f64, f64) {
        let mut whole = Self::new(1);
        for (mean, squares) in mean.iter().zip(squares) {
            whole.merge(count, std::slice::from_ref(mean), std::slice::from_ref(squares));
        }
        (whole.mean[0], whole.squares[0] / whole.count as f64)
    }
}

/// A group norm and the size of its maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLayer<'a> {
    pub groups: usize,
    pub epsilon: f32,
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub pixels: usize,
}

impl<'a> GroupLayer<'a> {
    /// The layer of a step that is one.
    pub fn of(network: &'a Network, program: &Program, step: &Step) -> Option<Self> {
        let Operation::Group { groups, epsilon, weight, bias } = step.operation else {
            return None;
        };
        let values = |id: ParameterId| &network.parameters[id].values[..];
        let pixels = program.values[step.input].pixels();
        Some(Self { groups, epsilon, gamma: values(weight), beta: values(bias), pixels })
    }

    /// From the means and centred squares of one image's channels, those in memory.
    pub fn coefficients(&self, mean: &[f64], squares: &[f64]) -> Coefficients {
        let channels = self.gamma.len();
        let size = channels / self.groups;
        let pooled: Vec<(f64, f64)> = (0..self.groups)
            .map(|group| group * size..(group + 1) * size)
            .map(|of| MergedMoments::pooled(self.pixels, &mean[of.clone()], &squares[of]))
            .collect();
        let means = (0..channels).map(|c| pooled[c / size].0);
        let variances = (0..channels).map(|c| pooled[c / size].1);
        Coefficients::new(mean.len(), self.epsilon, means, variances, self.gamma, self.beta)
    }

    /// The way back through one image's norm, from its sums of `dy` and `dy * xhat` by channel.
    pub fn backward(
        &self,
        forward: &Coefficients,
        gradient: &[f64],
        product: &[f64],
    ) -> BackwardCoefficients {
        forward.backward(&self.means(gradient), &self.means(product))
    }

    /// Means over each group of `gamma * sums`, per channel.
    fn means(&self, sums: &[f64]) -> Vec<f64> {
        let size = self.gamma.len() / self.groups;
        let mean = |group: usize| {
            let channels = group * size..(group + 1) * size;
            let sum = channels.map(|c| f64::from(self.gamma[c]) * sums[c]).sum::<f64>();
            sum / (size * self.pixels) as f64
        };
        let means: Vec<f64> = (0..self.groups).map(mean).collect();
        (0..self.gamma.len()).map(|channel| means[channel / size]).collect()
    }
}

/// One batch norm in one forward.
#[derive(Clone, Debug)]
pub(crate) struct BatchState {
    /// By variant (see [`variant`]); `None` where no image needs it.
    pub coefficients: Vec<Option<Coefficients>>,
    /// By statistics branch, `None` where no image needed it; empty with running statistics.
    pub moments: Vec<Option<MergedMoments>>,
}

impl BatchState {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let numbers = |moments: &MergedMoments| moments.mean.len() + moments.squares.len();
        self.coefficients.iter().flatten().map(Coefficients::bytes).sum::<usize>()
            + self.moments.iter().flatten().map(numbers).sum::<usize>() * size_of::<f64>()
    }
}

/// Domains that a layer tells apart; a layer with one domain serves all.
pub(crate) fn variant(layer: &BatchParameters, domain: usize) -> usize {
    domain.min(layer.norm.domains - 1)
}

/// Coefficients from the running statistics for the variants in use.
pub(crate) fn running_state(
    network: &Network,
    layer: &BatchParameters,
    stride: usize,
    domains: &[usize],
) -> BatchState {
    let coefficients = coefficients(network, layer, stride, domains, |branch| {
        let (mean, variance) = layer.statistics[branch];
        let widen = |id: ParameterId| {
            network.parameters[id].values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()
        };
        (widen(mean), widen(variance))
    });
    BatchState { coefficients, moments: Vec::new() }
}

/// Coefficients from the moments of the images, by statistics branch.
pub(crate) fn batch_state(
    network: &Network,
    layer: &BatchParameters,
    stride: usize,
    domains: &[usize],
    moments: Vec<Option<MergedMoments>>,
) -> BatchState {
    let coefficients = coefficients(network, layer, stride, domains, |branch| {
        let found = moments[branch].as_ref().expect("a branch in use has met images");
        // Normalisation by batch statistics always uses the biased variance (T12).
        let variance = found.squares.iter().map(|sum| sum / found.count as f64).collect();
        (found.mean.clone(), variance)
    });
    BatchState { coefficients, moments }
}

fn coefficients(
    network: &Network,
    layer: &BatchParameters,
    stride: usize,
    domains: &[usize],
    statistics: impl Fn(usize) -> (Vec<f64>, Vec<f64>),
) -> Vec<Option<Coefficients>> {
    let mut found: Vec<Option<Coefficients>> = vec![None; layer.norm.domains];
    for &domain in domains {
        let slot = &mut found[variant(layer, domain)];
        if slot.is_none() {
            let (mean, variance) = statistics(layer.norm.statistics_branch(domain));
            let (gamma, beta) = layer.affine[layer.norm.affine_branch(domain)];
            *slot = Some(Coefficients::new(
                stride,
                layer.norm.epsilon,
                mean.into_iter(),
                variance.into_iter(),
                &network.parameters[gamma].values,
                &network.parameters[beta].values,
            ));
        }
    }
    found
}
