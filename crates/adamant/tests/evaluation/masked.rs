//! Networks that look robust because they hide: wrappers around a real one, each with one disguise.

use adamant::image::{ImagesView, Logits, Shape};
use engine::{EngineError, Frozen, Session};
use std::sync::atomic::{AtomicU32, Ordering};

/// How a network hides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mask {
    /// Not at all.
    None,
    /// Logits ten thousand times as large.
    HugeLogits,
    /// A layer whose backward gives nothing.
    StopGradient,
    /// A layer whose backward gives something else.
    OtherGradient,
    /// Inputs rounded to so many levels, with the gradient of rounding: none.
    Quantised(f32),
    /// Probabilities instead of logits.
    Softmax,
    /// Logits with noise of this size.
    Random(f32),
    /// Logits with a share of the batch's mean.
    Neighbours(f32),
    /// Logits of which some are no numbers.
    NotFinite,
}

pub struct Masked<F> {
    pub inner: F,
    pub mask: Mask,
    calls: AtomicU32,
}

impl<F> Masked<F> {
    pub fn new(inner: F, mask: Mask) -> Self {
        Self { inner, mask, calls: AtomicU32::new(0) }
    }
}

impl<F: Frozen> Frozen for Masked<F> {
    type Session<'a>
        = MaskedSession<'a, F>
    where
        F: 'a;
    fn session(&self) -> MaskedSession<'_, F> {
        MaskedSession { masked: self, inner: self.inner.session() }
    }
    fn tile(&self) -> usize {
        self.inner.tile()
    }
    fn input(&self) -> Shape {
        self.inner.input()
    }
    fn classes(&self) -> usize {
        self.inner.classes()
    }
}

pub struct MaskedSession<'a, F: Frozen + 'a> {
    masked: &'a Masked<F>,
    inner: F::Session<'a>,
}

impl<F: Frozen> MaskedSession<'_, F> {
    fn seen(&self, images: ImagesView<'_>) -> Vec<f32> {
        match self.masked.mask {
            Mask::Quantised(levels) => {
                images.pixels.iter().map(|pixel| (pixel * levels).round() / levels).collect()
            }
            _ => images.pixels.to_vec(),
        }
    }

    /// What the outside sees of the inner logits.
    fn shown(&self, logits: &Logits) -> Logits {
        let mut shown = logits.clone();
        match self.masked.mask {
            Mask::HugeLogits => shown.values.iter_mut().for_each(|z| *z *= 1e4),
            Mask::Softmax => (0..shown.count).for_each(|image| softmax(shown.row_mut(image))),
            Mask::Random(size) => {
                let call = self.masked.calls.fetch_add(1, Ordering::Relaxed);
                let mut draws = crate::support::draws(77, call);
                shown.values.iter_mut().for_each(|z| *z += size * draws.normal());
            }
            Mask::Neighbours(share) => {
                let mean = logits.values.iter().sum::<f32>() / logits.count as f32;
                shown.values.iter_mut().step_by(2).for_each(|z| *z += share * mean);
            }
            Mask::NotFinite => shown.row_mut(0)[0] = f32::NAN,
            _ => {}
        }
        shown
    }
}

impl<F: Frozen> Session for MaskedSession<'_, F> {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        let pixels = self.seen(images);
        let logits = self.inner.logits(ImagesView { pixels: &pixels, ..images })?;
        Ok(self.shown(&logits))
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        let pixels = self.seen(images);
        let images = ImagesView { pixels: &pixels, ..images };
        let logits = self.inner.logits(images)?;
        let shown = self.shown(&logits);
        let mut by_shown = Logits::zeros(shown.count, shown.classes);
        loss(&shown, 0, &mut by_shown);
        let mask = self.masked.mask;
        let mut pull_back = |_: &Logits, first: usize, by_logits: &mut Logits| {
            for row in 0..by_logits.count {
                let (outer, p) = (by_shown.row(first + row), shown.row(first + row));
                let inner = by_logits.row_mut(row);
                inner.copy_from_slice(outer);
                match mask {
                    Mask::HugeLogits => inner.iter_mut().for_each(|g| *g *= 1e4),
                    Mask::Softmax => {
                        let mean: f32 = outer.iter().zip(p).map(|(g, p)| g * p).sum();
                        inner.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - mean));
                    }
                    _ => {}
                }
            }
        };
        let (_, mut gradient) = self.inner.input_gradient(images, &mut pull_back)?;
        match mask {
            Mask::StopGradient | Mask::Quantised(_) => gradient.fill(0.0),
            Mask::OtherGradient => {
                let mut draws = crate::support::draws(78, 0);
                gradient.iter_mut().for_each(|g| *g = draws.normal());
            }
            _ => {}
        }
        Ok((shown, gradient))
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|z| *z /= sum);
}
