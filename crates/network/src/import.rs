//! Weights of other programs: torchvision, timm, the CIFAR ResNets of kuangliu and akamaster, wide ResNets, and nets with
//! auxiliary batch norms, under whatever wrapper they were saved.
//!
//! [`import`] renames keys until they fit the graph and says what it did (T64). Begin with `rename`.

use crate::file::{floats, io};
use crate::{Graph, Network, NetworkError, Op};
use safetensors::SafeTensors;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;

/// What an import did, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Key in the file, key in the network; keys that were already right are not listed.
    pub renamed: Vec<(String, String)>,
    /// Keys of the file that the network does not use, and why.
    pub dropped: Vec<(String, String)>,
    /// Parameters of the network that the file does not have.
    pub missing: Vec<String>,
    /// Parameters of further domains that took the values of the single batch norm in the file (T10).
    pub filled: Vec<String>,
    /// Whether the input scaling was taken from a normaliser in the file.
    pub scaling: ScalingSource,
}

/// Where the input scaling of an imported network comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingSource {
    /// The architecture asked for: the file says nothing.
    #[default]
    Architecture,
    /// The mean and deviation stored in the file.
    File,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "import: {} keys renamed, {} dropped, {} filled, {} missing",
            self.renamed.len(),
            self.dropped.len(),
            self.filled.len(),
            self.missing.len()
        )?;
        for (from, to) in &self.renamed {
            write!(f, "\n  renamed {from} -> {to}")?;
        }
        for (key, reason) in &self.dropped {
            write!(f, "\n  dropped {key}: {reason}")?;
        }
        for key in &self.filled {
            write!(f, "\n  filled {key} from the single batch norm")?;
        }
        for key in &self.missing {
            write!(f, "\n  missing {key}")?;
        }
        if self.scaling == ScalingSource::File {
            write!(f, "\n  input scaling taken from the file's normaliser")?;
        }
        if !self.missing.is_empty() {
            write!(f, "\n  hint: is the architecture the one the weights were trained in?")?;
        }
        Ok(())
    }
}

/// Reads the weights in the safetensors at `path` into `graph`.
///
/// Errors: [`NetworkError::Io`] and those of [`import`].
pub fn import_file(graph: Graph, path: &Path) -> Result<(Network, ImportReport), NetworkError> {
    let bytes = std::fs::read(path).map_err(io("read", path))?;
    import(graph, &bytes, &path.display().to_string())
}

/// Reads the weights in `bytes`, a safetensors of another program, into `graph`; `origin` names them in errors.
///
/// If the file has one batch norm where the graph has several domains, its values fill every domain.
/// Errors: [`NetworkError::File`] for anything that is no safetensors, a PyTorch file among them: those are pickles, and
/// reading one executes it; [`NetworkError::Import`] with the report if a parameter got no value;
/// [`NetworkError::Parameter`] for two keys with one meaning, another shape, or a value that is not finite.
pub fn import(
    mut graph: Graph,
    bytes: &[u8],
    origin: &str,
) -> Result<(Network, ImportReport), NetworkError> {
    refuse_pickles(bytes, origin)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| NetworkError::File {
        path: origin.into(),
        expected: "a whole safetensors file".into(),
        found: format!("{} bytes that are not: {error}", bytes.len()),
    })?;
    let specs = graph.layout().parameters;
    let known: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let mut names: Vec<&str> = tensors.names();
    names.sort_unstable();

    let mut report = ImportReport::default();
    let mut sources: BTreeMap<String, &str> = BTreeMap::new();
    let mut normaliser = Normaliser::default();
    for key in names {
        match rename(key, &known) {
            Fate::Parameter(name) => {
                if let Some(other) = sources.insert(name.clone(), key) {
                    return Err(NetworkError::Parameter {
                        name,
                        expected: "one key of the file".into(),
                        found: format!("two, {other} and {key}"),
                    });
                }
                if name != key {
                    report.renamed.push((key.into(), name));
                }
            }
            Fate::Mean => normaliser.mean = Some(key),
            Fate::Deviation => normaliser.deviation = Some(key),
            Fate::Dropped(reason) => report.dropped.push((key.into(), reason.into())),
        }
    }
    if normaliser.install(&tensors, &mut graph, origin)? {
        report.scaling = ScalingSource::File;
    }

    for spec in &specs {
        if sources.contains_key(&spec.name) {
            continue;
        }
        let first = first_domain(&spec.name).filter(|first| sources.contains_key(first));
        match first.map(|first| sources[&first]) {
            Some(source) => {
                sources.insert(spec.name.clone(), source);
                report.filled.push(spec.name.clone());
            }
            None => report.missing.push(spec.name.clone()),
        }
    }
    if !report.missing.is_empty() {
        return Err(NetworkError::Import(Box::new(report)));
    }
    let network = Network::with_values(graph, |spec| {
        let key = sources[&spec.name];
        let tensor = tensors.tensor(key).expect("the key was listed by this file");
        let values = floats(key, &tensor)?;
        spec.check(tensor.shape(), &values)?;
        Ok(values)
    })?;
    Ok((network, report))
}

/// What becomes of a key.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Parameter(String),
    Mean,
    Deviation,
    Dropped(&'static str),
}

/// Wrappers around the module that was saved; they are stripped one after the other.
const PREFIXES: [&str; 3] = ["module.", "model.", "state_dict."];

/// Other programs' spellings of parts of a key, tried one by one and all together.
///
/// kuangliu: `shortcut`, `linear`; AdvProp: `aux_bn.weight`; EasyRobust and ARES: `bn_adv`; timm: as ours.
fn spellings(key: &str) -> Vec<String> {
    let auxiliary = |key: &str| {
        let key = key.replace(".bn_adv.", ".aux_bn.0.");
        match key.split_once(".aux_bn.") {
            Some((norm, kind)) if !kind.contains('.') => format!("{norm}.aux_bn.0.{kind}"),
            _ => key,
        }
    };
    let mut found = vec![key.to_string(), auxiliary(key)];
    for (ours, theirs) in [
        ("downsample.", "shortcut."),
        ("fc.", "linear."),
        ("linear.", "fc."),
        ("shortcut.", "downsample."),
    ] {
        for spelling in found.clone() {
            let at_start = spelling.starts_with(theirs);
            let inside = format!(".{theirs}");
            if at_start {
                found.push(format!("{ours}{}", &spelling[theirs.len()..]));
            } else if spelling.contains(&inside) {
                found.push(spelling.replacen(&inside, &format!(".{ours}"), 1));
            }
        }
    }
    found
}

/// The parameter a key stands for, or why there is none.
fn rename(key: &str, known: &HashSet<&str>) -> Fate {
    if key.ends_with("num_batches_tracked") {
        return Fate::Dropped("a counter that nothing reads");
    }
    if key.starts_with("attacker.") || key.contains(".attacker.") {
        return Fate::Dropped("the attacker's copy of the model");
    }
    let mut bare = key;
    loop {
        if let Some(name) = spellings(bare).into_iter().find(|name| known.contains(name.as_str())) {
            return Fate::Parameter(name);
        }
        match bare {
            "normalizer.new_mean" | "normalizer.mean" | "normalize.mean" | "mean" => {
                return Fate::Mean;
            }
            "normalizer.new_std" | "normalizer.std" | "normalize.std" | "std" => {
                return Fate::Deviation;
            }
            _ => {}
        }
        match PREFIXES.iter().find_map(|prefix| bare.strip_prefix(prefix)) {
            Some(rest) => bare = rest,
            None => return Fate::Dropped("no such parameter in this architecture"),
        }
    }
}

/// The name of the same parameter in domain 0, for a parameter of a further domain.
fn first_domain(name: &str) -> Option<String> {
    let (norm, rest) = name.split_once(".aux_bn.")?;
    let (_, kind) = rest.split_once('.')?;
    Some(format!("{norm}.{kind}"))
}

/// Mean and deviation stored beside the weights.
#[derive(Debug, Default)]
struct Normaliser<'a> {
    mean: Option<&'a str>,
    deviation: Option<&'a str>,
}

impl Normaliser<'_> {
    /// Makes the file's normaliser the graph's input scaling; says whether there was one.
    fn install(
        &self,
        tensors: &SafeTensors<'_>,
        graph: &mut Graph,
        origin: &str,
    ) -> Result<bool, NetworkError> {
        let (mean, deviation) = match (self.mean, self.deviation) {
            (None, None) => return Ok(false),
            (Some(mean), Some(deviation)) => (mean, deviation),
            (Some(key), None) | (None, Some(key)) => {
                return Err(NetworkError::File {
                    path: origin.into(),
                    expected: "a normaliser's mean and deviation".into(),
                    found: format!("{key} alone"),
                });
            }
        };
        let read = |key: &str| {
            let tensor = tensors.tensor(key).expect("the key was listed by this file");
            floats(key, &tensor)
        };
        let values = crate::InputScaling::MeanStd { mean: read(mean)?, std: read(deviation)? };
        let channels = graph.input.channels;
        let (scale, shift) =
            values.affine(channels, &graph.name)?.expect("a mean and deviation scale the input");
        // The scaling is the only node between the images and the first layer.
        match graph.nodes.get_mut(1).map(|node| &mut node.op) {
            Some(op @ Op::Scale { .. }) => *op = Op::Scale { scale, shift },
            _ => {
                return Err(NetworkError::File {
                    path: origin.into(),
                    expected: "no normaliser, since the architecture has no input scaling".into(),
                    found: format!(
                        "{mean} and {deviation}\n  hint: choose any input scaling; \
                                    the file's values take its place"
                    ),
                });
            }
        }
        Ok(true)
    }
}

/// A `.pth` is a zip archive around a pickle, an old one a bare pickle.
fn refuse_pickles(bytes: &[u8], origin: &str) -> Result<(), NetworkError> {
    if !bytes.starts_with(b"PK\x03\x04") && !bytes.starts_with(&[0x80, 2]) {
        return Ok(());
    }
    Err(NetworkError::File {
        path: origin.into(),
        expected: "safetensors".into(),
        found: "a PyTorch pickle, which would have to be executed to be read\n  hint: convert it \
                where you trust it: python3 -c \"import torch, safetensors.torch as s; \
                w = torch.load('IN.pth', map_location='cpu', weights_only=True); \
                w = w.get('state_dict', w.get('model', w)); \
                s.save_file({k: v.contiguous() for k, v in w.items()}, 'OUT.safetensors')\""
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, InputScaling, NormChoice, Shortcut};
    use safetensors::{Dtype, tensor::TensorView};

    fn graph(name: &str, norm: NormChoice) -> Graph {
        let mut architecture = Architecture::named(name).unwrap();
        architecture.norm = norm;
        architecture.graph().unwrap()
    }

    /// A network whose every parameter has a value of its own.
    fn varied(graph: Graph) -> Network {
        let mut count = 0;
        Network::with_values(graph, |spec| {
            count += 1;
            Ok((0..spec.len()).map(|i| count as f32 + i as f32 * 1e-3).collect())
        })
        .unwrap()
    }

    /// The file another program would write: keys renamed, further tensors appended.
    fn foreign(
        network: &Network,
        key: impl Fn(&str) -> Option<String>,
        further: &[(&str, &[f32])],
    ) -> Vec<u8> {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let own = network.parameters.iter().filter_map(|p| {
            let bytes: Vec<u8> = bytes(&p.values);
            key(&p.name).map(|name| (name, p.shape.clone(), bytes))
        });
        let further = further
            .iter()
            .map(|(name, values)| (name.to_string(), vec![values.len()], bytes(values)));
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = own.chain(further).collect();
        let views =
            tensors.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn keys_of_every_family_find_their_parameters() {
        type Rename = fn(&str) -> String;
        let cases: [(&str, NormChoice, Rename); 8] = [
            ("resnet50", NormChoice::BATCH, |key| key.into()),
            ("resnet18-cifar", NormChoice::BATCH, |key| {
                key.replace("downsample", "shortcut").replace("fc.", "linear.")
            }),
            ("resnet18", NormChoice::BATCH, |key| format!("module.model.{key}")),
            ("wrn-10-2", NormChoice::BATCH, |key| format!("module.{key}")),
            ("resnet18", NormChoice::MIXTURE, |key| format!("state_dict.module.{key}")),
            ("resnet18", NormChoice::MIXTURE, |key| key.replace("aux_bn.0.", "aux_bn.")),
            ("resnet18", NormChoice::MIXTURE, |key| key.replace("aux_bn.0.", "bn_adv.")),
            ("resnet18-cifar", NormChoice::MIXTURE, |key| {
                let key = key.replace("aux_bn.0.", "bn_adv.").replace("downsample", "shortcut");
                format!("model.{}", key.replace("fc.", "linear."))
            }),
        ];
        for (name, norm, rename) in cases {
            let network = varied(graph(name, norm));
            let bytes = foreign(&network, |key| Some(rename(key)), &[]);
            let (imported, report) = import(network.graph.clone(), &bytes, "weights").unwrap();
            assert_eq!(imported, network, "{name}");
            assert!(report.dropped.is_empty() && report.filled.is_empty(), "{report}");
            let changed = network.parameters.iter().filter(|p| rename(&p.name) != p.name).count();
            assert_eq!(report.renamed.len(), changed);
        }
    }

    #[test]
    fn projections_of_the_cifar_family_are_read_under_both_names() {
        let mut architecture = Architecture::named("resnet8-cifar").unwrap();
        architecture.shortcut = Shortcut::Projection;
        let network = varied(architecture.graph().unwrap());
        let theirs =
            |key: &str| Some(key.replace("shortcut", "downsample").replace("linear", "fc"));
        let (imported, _) =
            import(network.graph.clone(), &foreign(&network, theirs, &[]), "weights").unwrap();
        assert_eq!(imported, network);
    }

    #[test]
    fn g16_a_single_batch_norm_fills_every_domain_and_says_so() {
        let single = varied(graph("resnet8-cifar", NormChoice::BATCH));
        let bytes = foreign(&single, |key| Some(key.into()), &[]);
        let target = graph("resnet8-cifar", NormChoice::MIXTURE);
        let (imported, report) = import(target, &bytes, "weights").unwrap();
        assert_eq!(report.filled.len(), 7 * 4);
        let mut copied = imported.clone();
        copied.copy_branches();
        assert_eq!(imported, copied);
        assert_eq!(imported.parameters.get("bn1.weight"), single.parameters.get("bn1.weight"));
    }

    #[test]
    fn a_normaliser_becomes_the_input_scaling_and_the_attacker_is_dropped() {
        let network = varied(graph("resnet8-cifar", NormChoice::BATCH));
        let further: [(&str, &[f32]); 4] = [
            ("module.normalizer.new_mean", &[0.4914, 0.4822, 0.4465]),
            ("module.normalizer.new_std", &[0.2471, 0.2435, 0.2616]),
            ("module.attacker.model.conv1.weight", &[1.0]),
            ("module.model.bn1.num_batches_tracked", &[7.0]),
        ];
        let bytes = foreign(&network, |key| Some(format!("module.model.{key}")), &further);
        let (imported, report) = import(network.graph.clone(), &bytes, "weights").unwrap();
        let mut expected = Architecture::named("resnet8-cifar").unwrap();
        expected.scaling = InputScaling::cifar10();
        assert_eq!(imported.graph, expected.graph().unwrap());
        assert_eq!(report.scaling, ScalingSource::File);
        let dropped: Vec<_> = report.dropped.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(dropped, [further[2].0, further[3].0]);
    }

    #[test]
    fn missing_weights_are_an_error_that_lists_them_beside_what_was_not_used() {
        let network = varied(graph("resnet8-cifar", NormChoice::BATCH));
        let theirs = |key: &str| (key != "layer3.0.conv2.weight").then(|| key.to_string());
        let bytes = foreign(&network, theirs, &[("head.weight", &[1.0])]);
        let message = import(network.graph, &bytes, "weights").unwrap_err().to_string();
        assert!(message.contains("missing layer3.0.conv2.weight"), "{message}");
        assert!(message.contains("dropped head.weight: no such parameter"), "{message}");
    }

    #[test]
    fn another_shape_and_two_keys_for_one_parameter_are_errors() {
        let network = varied(graph("resnet8-cifar", NormChoice::BATCH));
        let own = |key: &str| Some(key.to_string());
        let twice = foreign(&network, own, &[("module.bn1.weight", &[1.0; 16])]);
        let message = import(network.graph.clone(), &twice, "weights").unwrap_err().to_string();
        assert!(message.contains("bn1.weight") && message.contains("two,"), "{message}");
        let narrow = foreign(
            &network,
            |key| (key != "bn1.weight").then(|| key.to_string()),
            &[("bn1.weight", &[1.0; 4])],
        );
        let message = import(network.graph, &narrow, "weights").unwrap_err().to_string();
        assert!(message.contains("expected shape [16], found shape [4]"), "{message}");
    }

    #[test]
    fn a_pickle_is_refused_with_the_way_to_convert_it() {
        for head in [&b"PK\x03\x04archive"[..], &[0x80, 2, b'}']] {
            let target = graph("resnet8-cifar", NormChoice::BATCH);
            let message = import(target, head, "model.pth").unwrap_err().to_string();
            assert!(message.starts_with("model.pth: expected safetensors"), "{message}");
            assert!(message.contains("hint:") && message.contains("weights_only=True"));
        }
    }

    #[test]
    fn the_pretrained_resnet20_is_read_without_a_change() {
        let mut architecture = Architecture::named("resnet20-cifar").unwrap();
        architecture.scaling = InputScaling::imagenet();
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fixtures/golden/cifar_resnet20.safetensors");
        let (network, report) = import_file(architecture.graph().unwrap(), &path).unwrap();
        assert_eq!(report, ImportReport::default());
        assert_eq!(network.parameters.len(), 97);
    }
}
