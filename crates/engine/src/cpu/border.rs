//! Where images and logits cross between the caller's layout and the engine's.

use super::lower::Program;
use crate::{EngineError, ImagesView, Logits};
use network::{Domains, Pass};

/// Refuses images that are not the network's input.
pub(crate) fn check_images(
    operation: &'static str,
    program: &Program,
    images: ImagesView<'_>,
) -> Result<(), EngineError> {
    if images.shape != program.input_shape {
        return Err(EngineError::Shape {
            operation,
            expected: format!("images of shape {}", program.input_shape),
            found: images.shape.to_string(),
        });
    }
    let expected = images.count * images.shape.len();
    if images.pixels.len() != expected {
        return Err(EngineError::Shape {
            operation,
            expected: format!("{expected} numbers for {} images", images.count),
            found: images.pixels.len().to_string(),
        });
    }
    Ok(())
}

/// The domain of every image. Errors: another number of domains than images.
pub(crate) fn domains(pass: &Pass, count: usize) -> Result<Vec<usize>, EngineError> {
    match &pass.domains {
        Domains::All(domain) => Ok(vec![domain.0; count]),
        Domains::PerImage(domains) if domains.len() == count => {
            Ok(domains.iter().map(|domain| domain.0).collect())
        }
        Domains::PerImage(domains) => Err(EngineError::Shape {
            operation: "record",
            expected: format!("one domain for each of {count} images"),
            found: domains.len().to_string(),
        }),
    }
}

/// Refuses a logit gradient of another shape than the logits.
pub(crate) fn check_logits(
    operation: &'static str,
    gradient: &Logits,
    count: usize,
    classes: usize,
) -> Result<(), EngineError> {
    let fits = gradient.count == count
        && gradient.classes == classes
        && gradient.values.len() == count * classes;
    if fits {
        return Ok(());
    }
    Err(EngineError::Shape {
        operation,
        expected: format!("a gradient by [{count}, {classes}] logits"),
        found: format!(
            "[{}, {}] with {} numbers",
            gradient.count,
            gradient.classes,
            gradient.values.len()
        ),
    })
}

/// Reads images `[n, C, H, W]` into channels-last rows, scaled as the graph's first node says.
pub(crate) fn load_images(program: &Program, pixels: &[f32], value: &mut [f32]) {
    let layout = program.values[program.input];
    let (channels, plane) = (layout.shape.channels, layout.pixels());
    let images = pixels.chunks_exact(channels * plane);
    for (image, rows) in images.zip(value.chunks_exact_mut(layout.len())) {
        for channel in 0..layout.stride {
            let column = rows[channel..].iter_mut().step_by(layout.stride);
            if channel >= channels {
                column.for_each(|x| *x = 0.0);
                continue;
            }
            let source = &image[channel * plane..(channel + 1) * plane];
            match &program.input_scale {
                Some((scale, shift)) => {
                    let (scale, shift) = (scale[channel], shift[channel]);
                    column.zip(source).for_each(|(x, &pixel)| *x = scale * pixel + shift);
                }
                None => column.zip(source).for_each(|(x, &pixel)| *x = pixel),
            }
        }
    }
}

/// Writes the input's gradient as `[n, C, H, W]`.
///
/// A mask bit is not set for NaN, which would hide it: an image whose logit gradient is not finite gets NaN everywhere.
pub(crate) fn store_input_gradient(
    program: &Program,
    gradient: &[f32],
    by_logits: &[f32],
    pixels: &mut [f32],
) {
    let layout = program.values[program.input];
    let (length, stride) = (layout.gradient_len(), layout.gradient_len() / layout.pixels());
    store_planes(program, by_logits, pixels, |image, channel, plane| {
        let column = gradient[image * length..][channel..length].iter().step_by(stride);
        plane.iter_mut().zip(column).for_each(|(pixel, &x)| *pixel = x);
    });
}

/// As [`store_input_gradient`], from whatever `fill` writes into the plane of an image and channel.
pub(crate) fn store_planes(
    program: &Program,
    by_logits: &[f32],
    pixels: &mut [f32],
    fill: impl Fn(usize, usize, &mut [f32]),
) {
    let layout = program.values[program.input];
    let (channels, plane) = (layout.shape.channels, layout.pixels());
    for (index, image) in pixels.chunks_exact_mut(channels * plane).enumerate() {
        for (channel, target) in image.chunks_exact_mut(plane).enumerate() {
            fill(index, channel, target);
            if let Some((scale, _)) = &program.input_scale {
                target.iter_mut().for_each(|pixel| *pixel *= scale[channel]);
            }
        }
    }
    let rows = by_logits.chunks_exact(program.classes);
    for (image, row) in pixels.chunks_exact_mut(channels * plane).zip(rows) {
        if row.iter().any(|x| !x.is_finite()) {
            image.fill(f32::NAN);
        }
    }
}

/// Copies padded rows into dense ones.
pub(crate) fn store_dense(padded: &[f32], classes: usize, dense: &mut [f32]) {
    let rows = padded.chunks_exact(kernels::padded(classes));
    for (row, target) in rows.zip(dense.chunks_exact_mut(classes)) {
        target.copy_from_slice(&row[..classes]);
    }
}

/// Copies dense rows into padded ones.
pub(crate) fn load_padded(dense: &[f32], classes: usize, padded: &mut [f32]) {
    let rows = padded.chunks_exact_mut(kernels::padded(classes));
    for (row, source) in rows.zip(dense.chunks_exact(classes)) {
        row[..classes].copy_from_slice(source);
        row[classes..].fill(0.0);
    }
}
