//! Which model is judged on which images: the arguments that `evaluate` and `attack` share.

use crate::failure::OrWrongUsage;
use crate::model::Model;
use adamant::data::{DataError, Dataset, Framing, Part, SearchPath, Source};
use adamant::evaluate::{EvaluateError, Samples, Subject};
use adamant::train::plan::Plan;
use anyhow::anyhow;
use clap::ValueEnum;
use network::{Domain, Shape};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Which model is judged on which images.
#[derive(clap::Args, Clone, Debug)]
pub struct SubjectArguments {
    /// A run folder, a checkpoint folder or a .safetensors file.
    pub model: PathBuf,
    /// The images, such as fashion-sample or bin:PATH; the test part where there is one. The default is the data the
    /// model was trained on. Pictures of another size than the model's input are cut as in its training, or else as usual
    /// (shorter side 256, middle 224).
    #[arg(long)]
    pub data: Option<String>,
    /// The branch that is judged, in networks with mixture batch norm.
    #[arg(long, value_name = "B", default_value = "adversarial")]
    pub branch: Branch,
    /// The branch that the attack sees; the default is the judged one.
    #[arg(long, value_name = "B", alias = "attack_branch")]
    pub attack_branch: Option<Branch>,
    /// Judge N images, chosen by the seed; the default is all.
    #[arg(long, value_name = "N")]
    pub samples: Option<NonZeroUsize>,
    /// Seed of the chosen images, random starts and random targets.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Images in memory at a time; results do not depend on it.
    #[arg(long, value_name = "N", alias = "batch_size", default_value = "128")]
    pub batch_size: NonZeroUsize,
}

/// A branch of a network with mixture batch norm; a plain network has one branch for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Branch {
    /// The one that clean images trained.
    Clean,
    /// The one that adversarial images trained.
    Adversarial,
}

impl Branch {
    /// The normalisation domain.
    pub fn domain(self) -> Domain {
        match self {
            Self::Clean => Domain::CLEAN,
            Self::Adversarial => Domain::ADVERSARIAL,
        }
    }
}

/// The result, where images the model cannot take, or more of them than there are, are the user's to name again.
pub fn fitting<T>(result: Result<T, EvaluateError>) -> anyhow::Result<T> {
    match result {
        Err(
            error @ (EvaluateError::Shape { .. }
            | EvaluateError::Samples { .. }
            | EvaluateError::LedgerDiffers { .. }),
        ) => Err(error).or_wrong_usage(),
        other => Ok(other?),
    }
}

/// The usual framing of photographs for an input; arrays of images of one size are never made another.
fn usual_framing(source: &Source, input: Shape) -> Option<Framing> {
    let has_pictures = matches!(
        source,
        Source::Folder(_) | Source::Shards(_) | Source::Cache(_) | Source::Parquet(_)
    );
    let is_usual = input.channels == 3 && input.height == input.width;
    let side = u32::try_from(input.width).ok().filter(|&side| side <= 8192)?;
    (has_pictures && is_usual).then(|| Framing::usual(side))
}

impl SubjectArguments {
    /// The model that is named.
    pub fn open_model(&self) -> anyhow::Result<Model> {
        crate::model::open(&self.model)
    }

    /// The images that are named, or those the model was trained on.
    ///
    /// Pictures become images as in the model's training; of a model of unknown training, as is usual for its input,
    /// unless they have its size already.
    pub fn open_data(&self, model: &Model) -> anyhow::Result<(Dataset, String)> {
        let origin = model.origin.as_ref();
        let written = match (&self.data, origin) {
            (Some(data), _) => data.clone(),
            (None, Some(origin)) => origin.recipe.data.source.clone(),
            (None, None) => {
                return Err(anyhow!(
                    "{}: nothing says which data this model was trained on\n  \
                     hint: name the images with --data, one of {}",
                    self.model.display(),
                    Source::VALID.join(", ")
                ))
                .or_wrong_usage();
            }
        };
        let source = Source::parse(&written).or_wrong_usage()?;
        let search = SearchPath::from_environment();
        if let Some(origin) = origin {
            let framing = Plan::new(&origin.recipe).or_wrong_usage()?.framing;
            return Ok((source.load_framed(Part::Test, &search, framing)?, written));
        }
        let stored = source.load(Part::Test, &search);
        let fits = match &stored {
            Ok(data) => data.shape() == model.network.graph.input,
            Err(error) => !matches!(error, DataError::PictureShape { .. }),
        };
        let data = match usual_framing(&source, model.network.graph.input) {
            Some(framing) if !fits => source.load_framed(Part::Test, &search, framing)?,
            _ => stored?,
        };
        Ok((data, written))
    }

    /// The branch that is judged and the branch that the attack sees.
    pub fn branches(&self) -> (Domain, Domain) {
        let attacked = self.attack_branch.unwrap_or(self.branch);
        (self.branch.domain(), attacked.domain())
    }

    /// Which images.
    pub fn samples(&self) -> Samples {
        self.samples.map_or(Samples::All, |count| Samples::Some(count.get()))
    }

    /// Model and data in the user's words.
    pub fn subject(&self, data: String) -> Subject {
        Subject { model: self.model.display().to_string(), data }
    }
}
