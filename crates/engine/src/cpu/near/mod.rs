//! Forwards of images that each differ in a few pixels from one whose forward is remembered.
//!
//! A random search changes a window of a few pixels and asks for the logits: most of the first layers' results stay what
//! they were. Of the remembered forward every value of the head lies in memory, with a border of one zero pixel; a question
//! computes what the change reaches in place, keeping what was there, and the steps behind the head whole. What was there
//! comes back with the next question, unless the change was accepted. The head's convolutions are such that a result depends, to the bit,
//! on its own window ([`super::weights::Weights::local`]), and every number is computed by the kernels of a whole forward with
//! these, in their order: **the logits have the bits of [`crate::Session::remember`]** (G7), and those of
//! [`crate::Session::logits`] up to rounding. `head` chooses how many steps
//! are worth it, `window` says what a change reaches.

mod head;
mod window;

pub(crate) use head::Head;

use super::border;
use super::chunk::{Chunk, Context};
use super::lower::{Operation, Program, Step};
use kernels::Relu;
use kernels::convolution::{Add, Epilogue, Region, Scratch, forward_regions};
use window::Window;

/// Bytes that one session remembers at most; images beyond are computed whole.
const MOST_BYTES: usize = 256 << 20;

/// Questions that go through the head together: they share its weights, and their parts stay in the second-level cache.
const TOGETHER: usize = 16;

/// The forwards that a session remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// How many images.
    count: usize,
    /// By value of the head: `[count, height + 2, width + 2, stride]`; empty for others.
    maps: Vec<Vec<f32>>,
    /// `[count, classes]`.
    logits: Vec<f32>,
    /// Those of the last question about each image.
    asked: Vec<f32>,
    /// What the questions overwrote, in that order.
    overwritten: Vec<Overwritten>,
    /// The numbers of it.
    saved: Vec<f32>,
    /// By image: whether its last question's change stays.
    accepted: Vec<bool>,
}

/// A part of one image's value that a question has overwritten.
#[derive(Debug)]
struct Overwritten {
    value: usize,
    image: usize,
    window: Window,
}

/// An image that differs from a remembered one.
struct Question {
    /// Its position among those remembered.
    image: usize,
    /// What changed, by value of the head.
    windows: Vec<Window>,
}

impl Memory {
    /// Room for as many of `count` images as may be remembered, all of them zero.
    pub fn new(program: &Program, head: Head, count: usize) -> Self {
        let values = held(program, head);
        let bytes: usize =
            values.iter().map(|&value| size_of::<f32>() * map_len(program, value)).sum();
        let count = count.min(MOST_BYTES / bytes.max(1));
        let mut maps = vec![Vec::new(); program.values.len()];
        values
            .into_iter()
            .for_each(|value| maps[value] = vec![0.0; count * map_len(program, value)]);
        let logits = vec![0.0; count * program.classes];
        let (asked, accepted) = (logits.clone(), vec![false; count]);
        let (overwritten, saved) = (Vec::new(), Vec::new());
        Self { count, maps, logits, asked, overwritten, saved, accepted }
    }

    /// How many images are remembered, the first of those that were given.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Of the images as they are remembered, `[count, classes]`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Remembers the forwards of the images: the change from nothing is everything.
    pub fn begin(
        &mut self,
        context: &Context<'_>,
        head: Head,
        pixels: &[f32],
        scratch: &mut Scratch,
    ) {
        let program = context.program;
        let all: Vec<usize> = (0..self.count).collect();
        let image = program.input_shape.len();
        for group in all.chunks(TOGETHER) {
            let questions = group.iter().map(|&image| Question {
                image,
                windows: self.reached(program, head, Window::whole(&program.values[program.input])),
            });
            let questions: Vec<Question> = questions.collect();
            let own = &pixels[group[0] * image..][..group.len() * image];
            let logits = self.answer(context, head, &questions, own, scratch);
            self.logits[group[0] * program.classes..][..logits.len()].copy_from_slice(&logits);
            // There is nothing to go back to.
            self.overwritten.clear();
            self.saved.clear();
        }
    }

    /// The logits of images that differ from those remembered at `images`, each of which is named once.
    pub fn ask(
        &mut self,
        context: &Context<'_>,
        head: Head,
        (images, pixels): (&[usize], &[f32]),
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let program = context.program;
        let (classes, length) = (program.classes, program.input_shape.len());
        self.put_back(program);
        let mut all = Vec::with_capacity(images.len() * classes);
        for (group, pixels) in images.chunks(TOGETHER).zip(pixels.chunks(TOGETHER * length)) {
            let mut questions = Vec::with_capacity(group.len());
            let mut changed = Vec::with_capacity(pixels.len());
            for (&image, pixels) in group.iter().zip(pixels.chunks_exact(length)) {
                let window = self.difference(program, image, pixels);
                if window.is_empty() {
                    let same = &self.logits[image * classes..][..classes];
                    self.asked[image * classes..][..classes].copy_from_slice(same);
                } else {
                    let windows = self.reached(program, head, window);
                    questions.push(Question { image, windows });
                    changed.extend_from_slice(pixels);
                }
            }
            let logits = self.answer(context, head, &questions, &changed, scratch);
            for (question, row) in questions.iter().zip(logits.chunks_exact(classes)) {
                self.asked[question.image * classes..][..classes].copy_from_slice(row);
            }
            for &image in group {
                all.extend_from_slice(&self.asked[image * classes..][..classes]);
            }
        }
        all
    }

    /// Remembers, instead of these images, those of the last question about them.
    pub fn accept(&mut self, program: &Program, images: &[usize]) {
        for &image in images.iter().filter(|&&image| image < self.count) {
            self.accepted[image] = true;
            let row = image * program.classes..(image + 1) * program.classes;
            self.logits[row.clone()].copy_from_slice(&self.asked[row]);
        }
    }

    /// Undoes the changes of the last questions that were not accepted.
    fn put_back(&mut self, program: &Program) {
        let mut saved = &self.saved[..];
        for Overwritten { value, image, window } in self.overwritten.drain(..) {
            let layout = &program.values[value];
            let length = window.columns.len() * layout.stride;
            for row in window.rows.clone() {
                let (own, rest) = saved.split_at(length);
                saved = rest;
                if !self.accepted[image] {
                    let at = place(program, value, image, row, window.columns.start);
                    self.maps[value][at..at + length].copy_from_slice(own);
                }
            }
        }
        self.saved.clear();
        self.accepted.fill(false);
    }

    /// Keeps what a question is about to overwrite.
    fn save(&mut self, program: &Program, value: usize, image: usize, window: &Window) {
        let length = window.columns.len() * program.values[value].stride;
        for row in window.rows.clone() {
            let at = place(program, value, image, row, window.columns.start);
            self.saved.extend_from_slice(&self.maps[value][at..at + length]);
        }
        self.overwritten.push(Overwritten { value, image, window: window.clone() });
    }

    /// Where an image differs, to the bit, from the remembered one.
    fn difference(&self, program: &Program, image: usize, pixels: &[f32]) -> Window {
        let layout = &program.values[program.input];
        let mut loaded = vec![0.0; layout.len()];
        border::load_images(program, pixels, &mut loaded);
        let row_len = layout.shape.width * layout.stride;
        let mut window = Window::default();
        for (row, new) in loaded.chunks_exact(row_len).enumerate() {
            let at = place(program, program.input, image, row, 0);
            let old = &self.maps[program.input][at..at + row_len];
            let differs = |(new, old): (&f32, &f32)| new.to_bits() != old.to_bits();
            let Some(first) = new.iter().zip(old).position(differs) else { continue };
            let last = new.iter().zip(old).rposition(differs).expect("one differs");
            let columns = first / layout.stride..last / layout.stride + 1;
            window = window.with(&Window { rows: row..row + 1, columns });
        }
        window
    }

    /// What a change of the images reaches, by value.
    fn reached(&self, program: &Program, head: Head, changed: Window) -> Vec<Window> {
        let mut windows = vec![Window::default(); program.values.len()];
        windows[program.input] = changed;
        for step in &program.steps[..head.steps] {
            let mut window = windows[step.input].through(step, &program.values[step.output]);
            if let Some(add) = step.add {
                window = window.with(&windows[add]);
            }
            windows[step.output] = window;
        }
        windows
    }

    /// The logits of some images whose changes are known.
    fn answer(
        &mut self,
        context: &Context<'_>,
        head: Head,
        questions: &[Question],
        pixels: &[f32],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let program = context.program;
        if questions.is_empty() {
            return Vec::new();
        }
        let input = program.input;
        let mut loaded = vec![0.0; program.values[input].len()];
        let images = pixels.chunks_exact(program.input_shape.len());
        for (question, pixels) in questions.iter().zip(images) {
            let window = &question.windows[input];
            self.save(program, input, question.image, window);
            border::load_images(program, pixels, &mut loaded);
            let layout = &program.values[input];
            let length = window.columns.len() * layout.stride;
            for row in window.rows.clone() {
                let from = (row * layout.shape.width + window.columns.start) * layout.stride;
                let at = place(program, input, question.image, row, window.columns.start);
                self.maps[input][at..at + length].copy_from_slice(&loaded[from..from + length]);
            }
        }
        for (index, step) in program.steps[..head.steps].iter().enumerate() {
            self.step(context, (index, step), questions, scratch);
        }
        self.tail(context, head, questions, scratch)
    }

    /// One step of the head, where the changes reach.
    fn step(
        &mut self,
        context: &Context<'_>,
        (index, step): (usize, &Step),
        questions: &[Question],
        scratch: &mut Scratch,
    ) {
        let program = context.program;
        let touched = questions.iter().filter(|question| !question.windows[step.output].is_empty());
        let touched: Vec<&Question> = touched.collect();
        for question in &touched {
            self.save(program, step.output, question.image, &question.windows[step.output]);
        }
        let mut output = std::mem::take(&mut self.maps[step.output]);
        let input = &self.maps[step.input];
        match &step.operation {
            Operation::Convolution { shape, bias, .. } => {
                let regions = touched.iter().map(|question| {
                    let Window { rows, columns } = &question.windows[step.output];
                    Region {
                        image: question.image,
                        top: rows.start,
                        bottom: rows.end,
                        left: columns.start,
                        right: columns.end,
                    }
                });
                let regions: Vec<Region> = regions.collect();
                let epilogue = Epilogue {
                    bias: bias.map(|bias| &context.network.parameters[bias].values[..]),
                    add: step.add.map_or(Add::Nothing, |add| Add::Other(&self.maps[add])),
                    relu: if step.activation.is_some() { Relu::Yes } else { Relu::No },
                    mask: None,
                };
                let packed = context.weights.convolution(index);
                let isa = context.isa;
                forward_regions(
                    isa,
                    shape,
                    &regions,
                    input,
                    packed,
                    &mut output,
                    epilogue,
                    scratch,
                );
            }
            &Operation::Subsample { stride, pad_before } => {
                let from = program.values[step.input].shape.channels;
                for question in &touched {
                    let Window { rows, columns } = &question.windows[step.output];
                    for row in rows.clone() {
                        for column in columns.clone() {
                            let (image, value) = (question.image, step.input);
                            let read = place(program, value, image, row * stride, column * stride);
                            let write = place(program, step.output, image, row, column);
                            // The channels around are zero from the beginning.
                            output[write + pad_before..][..from]
                                .copy_from_slice(&input[read..][..from]);
                        }
                    }
                }
            }
            other => unreachable!("{other:?} is no local step"),
        }
        self.maps[step.output] = output;
    }

    /// The steps behind the head, on whole maps.
    fn tail(
        &self,
        context: &Context<'_>,
        head: Head,
        questions: &[Question],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let program = context.program;
        let layout = &program.values[head.exit];
        let row_len = layout.shape.width * layout.stride;
        let mut chunk = Chunk::new(program, 0, questions.len());
        let mut maps = context.buffers.take(TOGETHER * layout.len());
        for (question, map) in questions.iter().zip(maps.chunks_exact_mut(layout.len())) {
            for (row, to) in map.chunks_exact_mut(row_len).enumerate() {
                let at = place(program, head.exit, question.image, row, 0);
                to.copy_from_slice(&self.maps[head.exit][at..at + row_len]);
            }
        }
        chunk.values[head.exit] = maps;
        for index in head.steps..program.steps.len() {
            chunk.forward(context, index, TOGETHER, scratch);
        }
        let mut logits = vec![0.0; questions.len() * program.classes];
        border::store_dense(chunk.value(program, program.output), program.classes, &mut logits);
        chunk.free(context.buffers);
        logits
    }
}

/// The values that a head holds: the images and what its steps make.
fn held(program: &Program, head: Head) -> Vec<usize> {
    let made = program.steps[..head.steps].iter().map(|step| step.output);
    std::iter::once(program.input).chain(made).collect()
}

/// Numbers of one image's value with its border.
fn map_len(program: &Program, value: usize) -> usize {
    let layout = &program.values[value];
    (layout.shape.height + 2) * (layout.shape.width + 2) * layout.stride
}

/// Where a pixel lies.
fn place(program: &Program, value: usize, image: usize, row: usize, column: usize) -> usize {
    let layout = &program.values[value];
    let pixel = (row + 1) * (layout.shape.width + 2) + column + 1;
    image * map_len(program, value) + pixel * layout.stride
}
