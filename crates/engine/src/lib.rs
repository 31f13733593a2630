//! Runs a [`network::Network`]: the [`Engine`] border and the CPU engine behind it.
//!
//! A *recording* is a forward that keeps what its backward needs: training. A *frozen* network has running statistics
//! folded in, images that do not depend on each other and no weight gradient: attacks and evaluation. Begin with
//! [`Engine`].

#![forbid(unsafe_code)]

pub mod cpu;
mod error;
mod observe;
mod pool;

pub use error::EngineError;
pub use kernels::mapping::{Mapping, OutOfMapping};
pub use kernels::priority::lower_thread_priority;
pub use observe::{Direction, Observable, StepDescription, StepObserver, Unobserved};
pub use pool::{MomentPool, PoolError};

use network::{Domain, Moments, Network, ParameterId, Pass, Shape};

/// Images as the engine reads them.
///
/// Shapes: `pixels` is `[count, C, H, W]`, row-major. Units: pixels in `[0, 1]`, scaling is inside the network.
#[derive(Clone, Copy, Debug)]
pub struct ImagesView<'a> {
    /// Number of images.
    pub count: usize,
    /// Shape of one.
    pub shape: Shape,
    /// All pixels.
    pub pixels: &'a [f32],
}

/// Logits of several images, or a gradient by them.
///
/// Shapes: `values` is `[count, classes]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Number of images.
    pub count: usize,
    /// Number of classes.
    pub classes: usize,
    /// Row per image.
    pub values: Vec<f32>,
}

impl Logits {
    /// All zero.
    pub fn zeros(count: usize, classes: usize) -> Self {
        Self { count, classes, values: vec![0.0; count * classes] }
    }

    /// The logits of image `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.classes..(index + 1) * self.classes]
    }

    /// The logits of image `index`, changeable.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.classes..(index + 1) * self.classes]
    }
}

/// Which gradients a backward computes; what is not wanted costs nothing (T36).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// By all learnt parameters.
    Parameters,
    /// By the input pixels.
    Input,
    /// By both, in one backward.
    ParametersAndInput,
}

/// What a backward gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// By position of [`network::ParameterId`]; statistics have empty entries. Empty as a whole if not wanted.
    pub parameters: Vec<Vec<f32>>,
    /// `[count, C, H, W]`. Empty if not wanted.
    pub input: Vec<f32>,
}

/// How a frozen network computes; judging is always [`Precision::F32`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision throughout.
    F32,
    /// Values and weights in bf16 with sums in f32: for attacks, not for judging.
    Bf16,
}

/// Runs networks. A second engine (GPUs) is one more implementation.
pub trait Engine: Sync {
    /// A forward that can be differentiated.
    type Recording: Recording;
    /// A folded network for attacks and evaluation.
    type Frozen: Frozen;

    /// Runs `network` forward and keeps what [`Engine::backward`] needs; the network is not changed (T2).
    ///
    /// Shapes: `images` as the graph's input. Errors: shapes; a batch norm with batch statistics over one value.
    fn record(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
    ) -> Result<(Logits, Self::Recording), EngineError>;

    /// The gradient of `sum(logits * logit_gradient)`, logits as recorded.
    ///
    /// `network` must be the one recorded, unchanged. Errors: shapes.
    fn backward(
        &self,
        network: &Network,
        recording: &Self::Recording,
        logit_gradient: &Logits,
        wants: Wants,
    ) -> Result<Gradients, EngineError>;

    /// As [`Engine::backward`] by the parameters, handing out the gradient of each learnt one as soon as it is complete, those
    /// of late layers first: what travels meanwhile need not be waited for. Same bits; after an error some are missing.
    ///
    /// Errors: as [`Engine::backward`].
    fn backward_by_parameter(
        &self,
        network: &Network,
        recording: &Self::Recording,
        logit_gradient: &Logits,
        finished: &mut (dyn FnMut(ParameterId, Vec<f32>) + Send),
    ) -> Result<(), EngineError> {
        let all = self.backward(network, recording, logit_gradient, Wants::Parameters)?;
        let learnt = all.parameters.into_iter().enumerate().rev();
        learnt.filter(|(_, gradient)| !gradient.is_empty()).for_each(|(position, gradient)| {
            finished(ParameterId(position), gradient);
        });
        Ok(())
    }

    /// As [`Engine::record`] of this rank's share of a batch, where batch norms normalise by the statistics of the whole:
    /// every rank calls it with the same network and pass, also one whose share is empty. Moments are those of the whole.
    ///
    /// Errors: as [`Engine::record`]; `Pool`. Source: Zhang et al. 2018 (EncNet), synchronised batch normalisation.
    fn record_pooled(
        &self,
        network: &Network,
        images: ImagesView<'_>,
        pass: &Pass,
        pool: &dyn MomentPool,
    ) -> Result<(Logits, Self::Recording), EngineError>;

    /// As [`Engine::backward_by_parameter`] of a recording made by [`Engine::record_pooled`]: the gradient of the ranks' sum of
    /// `sum(logits * logit_gradient)`, of which each rank is given its images' part; the parts add up to it.
    ///
    /// Errors: as [`Engine::backward`]; `Pool`.
    fn backward_pooled(
        &self,
        network: &Network,
        recording: &Self::Recording,
        logit_gradient: &Logits,
        pool: &dyn MomentPool,
        finished: &mut (dyn FnMut(ParameterId, Vec<f32>) + Send),
    ) -> Result<(), EngineError>;

    /// Takes back parameter gradients that nobody needs any more: the next backward writes into their memory.
    fn recycle(&self, gradients: Vec<Vec<f32>>) {
        drop(gradients);
    }

    /// Folds running statistics of `domain` and prepares for many passes over constant weights.
    fn freeze(
        &self,
        network: &Network,
        domain: Domain,
        precision: Precision,
    ) -> Result<Self::Frozen, EngineError>;

    /// What training passes compute in; the attacks of a training follow.
    fn training_precision(&self) -> Precision {
        Precision::F32
    }
}

/// What a recording tells besides its gradients.
pub trait Recording: Send + Sync {
    /// The moments that batch norms with [`network::Statistics::Batch`] saw; empty with running statistics.
    fn moments(&self) -> &Moments;
    /// Bytes kept for the backward.
    fn bytes(&self) -> usize;
}

/// A folded network, shared by threads.
pub trait Frozen: Send + Sync {
    /// One thread's scratch over it.
    type Session<'a>: Session
    where
        Self: 'a;
    /// A new session; its buffers are allocated on first use and kept.
    fn session(&self) -> Self::Session<'_>;
    /// How many images one session best takes at a time. Results do not depend on it.
    fn tile(&self) -> usize;
    /// Shape of one input image.
    fn input(&self) -> Shape;
    /// Number of classes.
    fn classes(&self) -> usize;
}

/// One thread over a frozen network. Image `i`'s result has the same bits alone and in any batch (G7).
pub trait Session {
    /// The logits of `images`, however many.
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError>;

    /// Forward, then the gradient by the pixels of the loss whose gradient by the logits `loss` gives.
    ///
    /// `loss` receives the logits of a run of images, the position of the first of them, and a zeroed gradient of the
    /// same shape to fill. It may be called once per tile. Returns all logits and `[count, C, H, W]`.
    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError>;

    /// The logits of `images`, whose forwards are remembered instead of any before: questions about images like them may
    /// then take less work. Up to rounding these are the logits of [`Session::logits`].
    fn remember(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        self.logits(images)
    }

    /// The logits of `images`, each of which differs from the image remembered at its position in `near`, best in a few
    /// neighbouring pixels: the bits that [`Session::remember`] gives them, for less work. A position comes at most once.
    fn logits_near(
        &mut self,
        _near: &[usize],
        images: ImagesView<'_>,
    ) -> Result<Logits, EngineError> {
        self.logits(images)
    }

    /// Remembers, instead of the images at these positions, those that the last question was about.
    fn accept(&mut self, _near: &[usize]) {}
}
