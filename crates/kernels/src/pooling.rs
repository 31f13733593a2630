//! Maximum over windows, and the mean over a whole map.

use crate::LANES;

/// Geometry of a maximum over square windows; padding never wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolingShape {
    /// Channels in memory of input and output.
    pub channel_stride: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border on each side, below `kernel`.
    pub padding: usize,
}

impl PoolingShape {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    fn in_len(&self) -> usize {
        self.height * self.width * self.channel_stride
    }

    fn out_len(&self) -> usize {
        self.out_height() * self.out_width() * self.channel_stride
    }

    /// The part of a window of output row or column `position` that lies inside `0..length`.
    fn window(&self, position: usize, length: usize) -> std::ops::Range<usize> {
        let start = position * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel - self.padding).min(length)
    }
}

/// Maximum of every window; among equals the first in row, column order wins, as in PyTorch, and NaN wins over all.
///
/// Shapes: `input` `[images, height, width, channel_stride]`, `output` and `winner` `[images, out_height, out_width,
/// channel_stride]`. Units: `winner` is the pixel's index within its image.
pub fn max_forward(shape: &PoolingShape, input: &[f32], output: &mut [f32], winner: &mut [u32]) {
    assert!(shape.padding < shape.kernel, "a window that lies in the padding has no maximum");
    assert_eq!(input.len() % shape.in_len(), 0, "pooling input");
    assert_eq!(output.len(), input.len() / shape.in_len() * shape.out_len(), "pooling output");
    assert_eq!(output.len(), winner.len(), "pooling output and winners");
    let channels = shape.channel_stride;
    let images = input.chunks_exact(shape.in_len());
    let outputs =
        output.chunks_exact_mut(shape.out_len()).zip(winner.chunks_exact_mut(shape.out_len()));
    for (image, (output, winner)) in images.zip(outputs) {
        let pixels = output.chunks_exact_mut(channels).zip(winner.chunks_exact_mut(channels));
        for (position, (output, winner)) in pixels.enumerate() {
            let (row, column) = (position / shape.out_width(), position % shape.out_width());
            output.fill(f32::NEG_INFINITY);
            let mut first = true;
            for y in shape.window(row, shape.height) {
                for x in shape.window(column, shape.width) {
                    let pixel = y * shape.width + x;
                    let values = &image[pixel * channels..][..channels];
                    for ((best, winner), &value) in output.iter_mut().zip(&mut *winner).zip(values)
                    {
                        if first || value > *best || value.is_nan() {
                            *best = value;
                            *winner = pixel as u32;
                        }
                    }
                    first = false;
                }
            }
        }
    }
}

/// Adds every output gradient to the pixel that won.
///
/// Shapes: as in [`max_forward`]; `input_gradient` is overwritten.
pub fn max_backward(
    shape: &PoolingShape,
    output_gradient: &[f32],
    winner: &[u32],
    input_gradient: &mut [f32],
) {
    assert_eq!(input_gradient.len() % shape.in_len(), 0, "pooling input gradient");
    let images = input_gradient.len() / shape.in_len();
    assert_eq!(output_gradient.len(), images * shape.out_len(), "pooling output gradient");
    assert_eq!(output_gradient.len(), winner.len(), "pooling output gradient and winners");
    let channels = shape.channel_stride;
    input_gradient.fill(0.0);
    let outputs =
        output_gradient.chunks_exact(shape.out_len()).zip(winner.chunks_exact(shape.out_len()));
    for (image, (gradient, winner)) in input_gradient.chunks_exact_mut(shape.in_len()).zip(outputs)
    {
        for (index, (&gradient, &winner)) in gradient.iter().zip(winner).enumerate() {
            image[winner as usize * channels + index % channels] += gradient;
        }
    }
}

per_isa! {
    /// Mean of every channel over the pixels of each image, summed in f64.
    ///
    /// Shapes: `input` `[images, pixels, stride]`, `output` `[images, stride]`.
    pub fn average_forward(pixels: usize, stride: usize, input: &[f32], output: &mut [f32]) {
        assert!(stride > 0 && stride.is_multiple_of(LANES) && pixels > 0, "pooling stride and pixels");
        assert_eq!(input.len(), output.len() * pixels, "pooling input and output");
        for (image, output) in input.chunks_exact(pixels * stride).zip(output.chunks_exact_mut(stride)) {
            for (panel, means) in output.chunks_exact_mut(LANES).enumerate() {
                let mut total = [0.0_f64; LANES];
                for row in image.chunks_exact(stride) {
                    for (total, &x) in total.iter_mut().zip(&row[panel * LANES..][..LANES]) {
                        *total += f64::from(x);
                    }
                }
                for (mean, total) in means.iter_mut().zip(total) {
                    *mean = (total / pixels as f64) as f32;
                }
            }
        }
    }
}

per_isa! {
    /// Spreads every output gradient evenly over the pixels of its image.
    ///
    /// Shapes: `output_gradient` `[images, stride]`, `input_gradient` `[images, pixels, stride]`, overwritten.
    pub fn average_backward(pixels: usize, stride: usize, output_gradient: &[f32], input_gradient: &mut [f32]) {
        assert!(stride > 0 && pixels > 0, "pooling stride and pixels");
        assert_eq!(input_gradient.len(), output_gradient.len() * pixels, "pooling gradients");
        let share = 1.0 / pixels as f32;
        let images = output_gradient.chunks_exact(stride).zip(input_gradient.chunks_exact_mut(pixels * stride));
        for (gradient, image) in images {
            for row in image.chunks_exact_mut(stride) {
                for (value, &gradient) in row.iter_mut().zip(gradient) {
                    *value = gradient * share;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn the_first_of_equal_maxima_wins_and_padding_never_does() {
        let shape = PoolingShape {
            channel_stride: 1,
            height: 3,
            width: 3,
            kernel: 3,
            stride: 2,
            padding: 1,
        };
        let input = [-5.0, -1.0, -1.0, -2.0, -1.0, -3.0, -4.0, -6.0, -7.0];
        let (mut output, mut winner) = ([0.0; 4], [0; 4]);
        max_forward(&shape, &input, &mut output, &mut winner);
        assert_eq!(output, [-1.0, -1.0, -1.0, -1.0]);
        assert_eq!(winner, [1, 1, 4, 4]);
        let mut gradient = [9.0; 9];
        max_backward(&shape, &[1.0, 2.0, 4.0, 8.0], &winner, &mut gradient);
        assert_eq!(gradient, [0.0, 3.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn the_mean_and_its_gradient() {
        for isa in Isa::available() {
            let input: Vec<f32> = (0..2 * 3 * 16).map(|i| i as f32).collect();
            let mut output = vec![0.0; 32];
            average_forward(isa, 3, 16, &input, &mut output);
            assert_eq!(output[..2], [16.0, 17.0]);
            assert_eq!(output[16], 64.0);
            let mut gradient = vec![0.0; input.len()];
            average_backward(isa, 3, 16, &output, &mut gradient);
            assert_eq!(gradient[0], 16.0_f32 * (1.0 / 3.0));
            assert_eq!(gradient[3 * 16 + 16], 64.0_f32 * (1.0 / 3.0));
        }
    }
}
