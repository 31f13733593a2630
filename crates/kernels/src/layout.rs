//! From channels first (the border: images, input gradients, files) to channels last (the engine) and back.

use crate::LANES;

/// Channels in memory for `channels` in meaning: the next multiple of 16.
pub const fn padded(channels: usize) -> usize {
    channels.div_ceil(LANES) * LANES
}

/// Moves channels last; channels from `channels` to `stride` become zeros.
///
/// Shapes: `input` `[images, channels, pixels]`, `output` `[images, pixels, stride]`.
pub fn nchw_to_nhwc(
    channels: usize,
    pixels: usize,
    input: &[f32],
    stride: usize,
    output: &mut [f32],
) {
    assert!(stride >= channels, "a stride of {stride} cannot hold {channels} channels");
    if channels * pixels == 0 {
        return;
    }
    let images = input.len() / (channels * pixels);
    assert_eq!(input.len(), images * channels * pixels, "channels-first input");
    assert_eq!(output.len(), images * pixels * stride, "channels-last output");
    for (image, out) in
        input.chunks_exact(channels * pixels).zip(output.chunks_exact_mut(pixels * stride))
    {
        for (pixel, out) in out.chunks_exact_mut(stride).enumerate() {
            for (channel, value) in out[..channels].iter_mut().enumerate() {
                *value = image[channel * pixels + pixel];
            }
            out[channels..].fill(0.0);
        }
    }
}

/// Moves channels first and drops the padding.
///
/// Shapes: `input` `[images, pixels, stride]`, `output` `[images, channels, pixels]`.
pub fn nhwc_to_nchw(
    channels: usize,
    pixels: usize,
    stride: usize,
    input: &[f32],
    output: &mut [f32],
) {
    assert!(stride >= channels, "a stride of {stride} cannot hold {channels} channels");
    if channels * pixels == 0 {
        return;
    }
    let images = output.len() / (channels * pixels);
    assert_eq!(output.len(), images * channels * pixels, "channels-first output");
    assert_eq!(input.len(), images * pixels * stride, "channels-last input");
    for (image, out) in
        input.chunks_exact(pixels * stride).zip(output.chunks_exact_mut(channels * pixels))
    {
        for (channel, out) in out.chunks_exact_mut(pixels).enumerate() {
            for (pixel, value) in out.iter_mut().enumerate() {
                *value = image[pixel * stride + channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_keeps_every_value_and_pads_with_zeros() {
        let input: Vec<f32> = (1..=2 * 3 * 4).map(|i| i as f32).collect();
        let mut last = vec![9.0; 2 * 4 * 16];
        nchw_to_nhwc(3, 4, &input, 16, &mut last);
        assert_eq!(&last[16..20], &[2.0, 6.0, 10.0, 0.0]);
        let mut back = vec![0.0; input.len()];
        nhwc_to_nchw(3, 4, 16, &last, &mut back);
        assert_eq!(back, input);
    }
}
