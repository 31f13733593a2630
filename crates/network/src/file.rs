//! The model file: one safetensors whose metadata holds the graph, so that weights and architecture cannot part.
//!
//! Nothing is pickled and nothing in a file is executed (T63).

use crate::{Graph, Network, NetworkError};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The metadata key that holds the graph as JSON.
pub const GRAPH_KEY: &str = "adamant.network";

impl Network {
    /// The bytes of the model file. Equal networks give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let graph = serde_json::to_string(&self.graph).expect("a graph is plain data");
        let values: Vec<Vec<u8>> = self
            .parameters
            .iter()
            .map(|parameter| parameter.values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let tensors = self.parameters.iter().zip(&values).map(|(parameter, bytes)| {
            let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes);
            (&parameter.name, view.expect("a parameter has the length its shape says"))
        });
        // One entry only: the order of several would differ from run to run.
        let metadata = HashMap::from([(GRAPH_KEY.to_string(), graph)]);
        safetensors::serialize(tensors, Some(metadata)).expect("names and sizes fit a header")
    }

    /// Reads the bytes of a model file; `origin` names them in errors.
    ///
    /// Errors: [`NetworkError::File`] for bytes that are no safetensors, are cut off, or hold no graph; those of
    /// [`Graph::validate`]; [`NetworkError::Parameter`] for a tensor that is missing, extra, of another shape or type,
    /// or not finite.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self, NetworkError> {
        let wrong = |expected: &str, found: String| NetworkError::File {
            path: origin.into(),
            expected: expected.into(),
            found,
        };
        let damaged = |error: safetensors::SafeTensorError| {
            wrong(
                "a whole safetensors file",
                format!("{} bytes that are not: {error}", bytes.len()),
            )
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let graph = header.metadata().as_ref().and_then(|metadata| metadata.get(GRAPH_KEY));
        let graph = graph.ok_or_else(|| {
            let hint = "no such key\n  hint: weights of other programs are read by import";
            wrong("a graph in the metadata key adamant.network", hint.into())
        })?;
        let graph: Graph = serde_json::from_str(graph)
            .map_err(|error| wrong("a graph of this version", error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let network = Self::with_values(graph, |spec| {
            let tensor = tensors.tensor(&spec.name).map_err(|_| NetworkError::Parameter {
                name: spec.name.clone(),
                expected: format!("shape {:?}", spec.shape),
                found: format!("no such tensor in {origin}"),
            })?;
            let values = floats(&spec.name, &tensor)?;
            spec.check(tensor.shape(), &values)?;
            Ok(values)
        })?;
        let mut names = tensors.names();
        names.sort_unstable();
        match names.into_iter().find(|name| network.parameters.id(name).is_none()) {
            None => Ok(network),
            Some(extra) => Err(NetworkError::Parameter {
                name: extra.into(),
                expected: format!("only what the graph {} names", network.graph.name),
                found: format!("this tensor besides in {origin}"),
            }),
        }
    }

    /// Writes the model file; a reader sees the old file or the whole new one, also after a crash.
    ///
    /// Errors: [`NetworkError::Io`]; the temporary file is removed and an older file kept.
    pub fn write(&self, path: &Path) -> Result<(), NetworkError> {
        write_atomically(path, &self.to_bytes())
    }

    /// Reads a model file.
    ///
    /// Errors: [`NetworkError::Io`] and those of [`Network::from_bytes`].
    pub fn read(path: &Path) -> Result<Self, NetworkError> {
        let bytes = fs::read(path).map_err(io("read", path))?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }
}

/// The values of a tensor as f32: what is stored in half precision or in doubles is converted.
pub(crate) fn floats(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f32>, NetworkError> {
    let bytes = tensor.data();
    let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    match tensor.dtype() {
        Dtype::F32 => {
            let words = bytes.chunks_exact(4);
            Ok(words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F64 => Ok(bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight")) as f32)
            .collect()),
        Dtype::BF16 => Ok(halves().map(|half| f32::from_bits(u32::from(half) << 16)).collect()),
        Dtype::F16 => Ok(halves().map(from_half).collect()),
        other => Err(NetworkError::Parameter {
            name: name.into(),
            expected: "numbers of type F32, F64, F16 or BF16".into(),
            found: format!("{other:?}"),
        }),
    }
}

/// IEEE half precision: 1 sign, 5 exponent, 10 mantissa bits.
fn from_half(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(half >> 10 & 31);
    let mantissa = f32::from(half & 1023);
    let magnitude = match exponent {
        0 => mantissa * 2.0_f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + mantissa) * 2.0_f32.powi(exponent - 25),
    };
    sign * magnitude
}

/// Writes beside the target, flushes to the disk, and renames.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), NetworkError> {
    let name = path.file_name().ok_or_else(|| NetworkError::File {
        path: path.display().to_string(),
        expected: "a path that ends in a file name".into(),
        found: "none".into(),
    })?;
    let temporary =
        path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The first error is the one to tell; a temporary file that cannot be removed follows from it.
        let _ = fs::remove_file(&temporary);
        return Err(io("write", path)(source));
    }
    // The rename itself is durable once the folder is flushed; systems that cannot open folders do without.
    let folder =
        path.parent().filter(|p| !p.as_os_str().is_empty()).map_or(".".into(), PathBuf::from);
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().map_err(io("flush the folder of", path))?;
    }
    Ok(())
}

/// An operating-system error with what was attempted.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> NetworkError {
    let path = path.display().to_string();
    move |source| NetworkError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, NormChoice};

    fn network() -> Network {
        let mut architecture = Architecture::named("resnet8-cifar").unwrap();
        architecture.norm = NormChoice::MIXTURE;
        architecture.scaling = crate::InputScaling::cifar10();
        let mut count = 0;
        Network::with_values(architecture.graph().unwrap(), |spec| {
            count += 1;
            Ok((0..spec.len()).map(|i| count as f32 / 3.0 + i as f32).collect())
        })
        .unwrap()
    }

    #[test]
    fn a_network_survives_the_file_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let network = network();
        network.write(&path).unwrap();
        let read = Network::read(&path).unwrap();
        assert_eq!(read, network);
        assert_eq!(read.to_bytes(), fs::read(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_cut_anywhere_is_a_typed_error() {
        let bytes = network().to_bytes();
        for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            let error = Network::from_bytes(&bytes[..length], "cut.safetensors").unwrap_err();
            assert!(matches!(error, NetworkError::File { .. }), "{length}: {error}");
            assert!(error.to_string().starts_with("cut.safetensors: expected"), "{error}");
        }
    }

    /// The model file with its tensors changed.
    fn damaged(change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<u8>)>)) -> String {
        let network = network();
        let mut tensors: Vec<_> = network
            .parameters
            .iter()
            .map(|p| {
                let bytes = p.values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (p.name.clone(), p.shape.clone(), bytes)
            })
            .collect();
        change(&mut tensors);
        let views =
            tensors.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
        let graph = serde_json::to_string(&network.graph).unwrap();
        let metadata = HashMap::from([(GRAPH_KEY.to_string(), graph)]);
        let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
        Network::from_bytes(&bytes, "damaged").unwrap_err().to_string()
    }

    #[test]
    fn a_missing_extra_misshapen_or_infinite_tensor_is_named() {
        let missing = damaged(|t| drop(t.remove(1)));
        assert!(missing.contains("bn1.weight") && missing.contains("no such tensor"), "{missing}");
        let extra = damaged(|t| t.push(("zebra".into(), vec![1], vec![0; 4])));
        assert!(extra.contains("zebra"), "{extra}");
        let shape = damaged(|t| t[0].1 = vec![16, 27]);
        assert!(shape.contains("conv1.weight") && shape.contains("[16, 3, 3, 3]"), "{shape}");
        let infinite = damaged(|t| t[0].2[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()));
        assert!(infinite.contains("expected finite values, found inf at 0"), "{infinite}");
    }

    #[test]
    fn a_file_without_a_graph_points_to_import() {
        let bytes = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
        let message = Network::from_bytes(&bytes, "other").unwrap_err().to_string();
        assert!(message.contains(GRAPH_KEY) && message.contains("hint:"), "{message}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_naming_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = network().write(&folder.path().join("absent/model.safetensors")).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
    }

    #[test]
    fn half_precision_is_read_exactly() {
        for (half, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0400, 2.0_f32.powi(-14)),
            (0x0001, 2.0_f32.powi(-24)),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(from_half(half), value);
        }
        assert!(from_half(0x7e00).is_nan());
    }
}
