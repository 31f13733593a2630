//! Where results go, and what happens to them on the way.

use super::{Add, Relu};
use crate::LANES;
use crate::vector::Vector;

/// The output of one pass with its epilogue; every array but the bias has the output's shape.
pub(super) struct Target<'a> {
    pub output: &'a mut [f32],
    /// Channels of the output in memory, 16 per panel.
    pub stride: usize,
    pub bias: Option<&'a [f32]>,
    pub add: Add<'a>,
    pub relu: Relu,
    pub write_mask: Option<&'a mut [u16]>,
    pub keep_mask: Option<&'a [u16]>,
}

impl Target<'_> {
    /// Panels of 16 channels.
    pub fn panels(&self) -> usize {
        self.stride / LANES
    }

    /// Asserts that `pixels` output pixels exist everywhere; [`Self::finish`] rests on it.
    pub fn check(&self, pixels: usize) {
        assert_eq!(self.stride % LANES, 0, "channel stride of a convolution result");
        assert!(pixels * self.stride <= self.output.len(), "output pixels");
        assert!(self.bias.is_none_or(|bias| bias.len() == self.stride), "bias");
        let masks = self.output.len() / LANES;
        assert!(self.write_mask.as_ref().is_none_or(|mask| mask.len() == masks), "mask");
        assert!(self.keep_mask.is_none_or(|mask| mask.len() == masks), "mask");
        if let Add::Other(other) = self.add {
            assert_eq!(other.len(), self.output.len(), "addend");
        }
    }

    /// Bias, addition, ReLU, masks, memory.
    ///
    /// # Safety
    /// [`Self::check`] must have passed for more pixels than `pixel`; `panel` must exist; the processor must have `V`'s
    /// instructions.
    #[inline(always)]
    pub unsafe fn finish<V: Vector>(&mut self, mut value: V, pixel: usize, panel: usize) {
        let at = pixel * self.stride + panel * LANES;
        // SAFETY: by the caller's promise; all other arrays were checked to have the output's shape.
        unsafe {
            if let Some(bias) = self.bias {
                value = value.add(V::load(bias.as_ptr().add(panel * LANES)));
            }
            match self.add {
                Add::Nothing => {}
                Add::Other(other) => value = value.add(V::load(other.as_ptr().add(at))),
                Add::Output => value = value.add(V::load(self.output.as_ptr().add(at))),
            }
            if self.relu == Relu::Yes {
                value = value.relu();
            }
            if let Some(mask) = self.keep_mask {
                value = value.keep(*mask.get_unchecked(at / LANES));
            }
            if let Some(mask) = &mut self.write_mask {
                *mask.get_unchecked_mut(at / LANES) = value.positive();
            }
            value.store(self.output.as_mut_ptr().add(at));
        }
    }
}
