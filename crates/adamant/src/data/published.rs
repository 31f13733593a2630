//! The public data sets that can be fetched: where their authors put them, and the checksums of what they put there.

use super::error::DataError;

/// A data set as its authors published it.
#[derive(Clone, Copy, Debug)]
pub struct PublishedSet {
    /// As in [`Source::parse`](super::Source::parse).
    pub name: &'static str,
    /// What is in it, in one line.
    pub about: &'static str,
    /// What its authors say about using it.
    pub licence: &'static str,
    /// Addresses that end in `/` and hold all files; the next is tried when one fails.
    pub addresses: &'static [&'static str],
    /// The files.
    pub files: &'static [PublishedFile],
}

/// One file of a published set.
#[derive(Clone, Copy, Debug)]
pub struct PublishedFile {
    /// Its name.
    pub name: &'static str,
    /// The bytes it may have: the authors' own first, then known repackagings of the same contents.
    pub forms: &'static [Form],
    /// What is done with it once it is here.
    pub contents: Contents,
}

/// One exact sequence of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in lowercase hexadecimal digits.
    pub sha256: &'static str,
}

/// What a file is.
#[derive(Clone, Copy, Debug)]
pub enum Contents {
    /// Read as it is.
    File,
    /// A gzipped tar archive, of which only these members are kept, by name and length.
    Archive {
        /// File name without folders, and bytes.
        members: &'static [(&'static str, u64)],
    },
}

/// All sets that can be fetched.
///
/// Source: lengths and SHA-256 as `url_checksums/{fashion_mnist,mnist,cifar10,cifar100}.txt` of tensorflow/datasets
/// records them; for Fashion-MNIST also computed from Debian's files with the authors' gzip headers put back.
pub const PUBLISHED: [PublishedSet; 4] = [
    PublishedSet {
        name: "fashion-mnist",
        about: "60,000 + 10,000 grey 28x28 pictures of clothes, 10 classes",
        licence: "MIT, Zalando SE",
        addresses: &[
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ],
        // The second form is Debian's: the same gzip stream under a header without name and time.
        files: &[
            file(
                "train-images-idx3-ubyte.gz",
                &[
                    form(
                        26_421_880,
                        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    ),
                    form(
                        26_421_856,
                        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                    ),
                ],
            ),
            file(
                "train-labels-idx1-ubyte.gz",
                &[
                    form(
                        29_515,
                        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    ),
                    form(
                        29_491,
                        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                    ),
                ],
            ),
            file(
                "t10k-images-idx3-ubyte.gz",
                &[
                    form(
                        4_422_102,
                        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    ),
                    form(
                        4_422_079,
                        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                    ),
                ],
            ),
            file(
                "t10k-labels-idx1-ubyte.gz",
                &[
                    form(5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
                    form(5_125, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
                ],
            ),
        ],
    },
    PublishedSet {
        name: "mnist",
        about: "60,000 + 10,000 grey 28x28 pictures of handwritten digits, 10 classes",
        licence: "none stated by its authors; commonly given as CC BY-SA 3.0",
        addresses: &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        files: &[
            file(
                "train-images-idx3-ubyte.gz",
                &[form(
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                )],
            ),
            file(
                "train-labels-idx1-ubyte.gz",
                &[form(28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c")],
            ),
            file(
                "t10k-images-idx3-ubyte.gz",
                &[form(
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                )],
            ),
            file(
                "t10k-labels-idx1-ubyte.gz",
                &[form(4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6")],
            ),
        ],
    },
    PublishedSet {
        name: "cifar10",
        about: "50,000 + 10,000 colour 32x32 photographs, 10 classes",
        licence: "none stated by its authors; for research",
        addresses: &["https://www.cs.toronto.edu/~kriz/"],
        files: &[PublishedFile {
            name: "cifar-10-binary.tar.gz",
            forms: &[form(
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            )],
            contents: Contents::Archive {
                members: &[
                    ("data_batch_1.bin", 30_730_000),
                    ("data_batch_2.bin", 30_730_000),
                    ("data_batch_3.bin", 30_730_000),
                    ("data_batch_4.bin", 30_730_000),
                    ("data_batch_5.bin", 30_730_000),
                    ("test_batch.bin", 30_730_000),
                ],
            },
        }],
    },
    PublishedSet {
        name: "cifar100",
        about: "50,000 + 10,000 colour 32x32 photographs, 100 classes",
        licence: "none stated by its authors; for research",
        addresses: &["https://www.cs.toronto.edu/~kriz/"],
        files: &[PublishedFile {
            name: "cifar-100-binary.tar.gz",
            forms: &[form(
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            )],
            contents: Contents::Archive {
                members: &[("train.bin", 153_700_000), ("test.bin", 30_740_000)],
            },
        }],
    },
];

impl PublishedSet {
    /// The set of that name.
    ///
    /// Errors: `NotPublished`, which lists the sets there are.
    pub fn named(name: &str) -> Result<&'static Self, DataError> {
        PUBLISHED.iter().find(|set| set.name == name).ok_or_else(|| DataError::NotPublished {
            found: name.to_owned(),
            valid: PUBLISHED.iter().map(|set| set.name.to_owned()).collect(),
        })
    }
}

const fn file(name: &'static str, forms: &'static [Form]) -> PublishedFile {
    PublishedFile { name, forms, contents: Contents::File }
}

const fn form(bytes: u64, sha256: &'static str) -> Form {
    Form { bytes, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_checksum_has_the_form_of_a_sha256_and_no_two_are_equal() {
        let mut seen = std::collections::HashSet::new();
        for form in PUBLISHED.iter().flat_map(|set| set.files).flat_map(|file| file.forms) {
            assert_eq!(form.sha256.len(), 64);
            assert!(form.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
            assert!(form.bytes > 0 && seen.insert(form.sha256), "{form:?}");
        }
        assert_eq!(seen.len(), 14);
    }

    #[test]
    fn an_unknown_set_lists_those_that_can_be_fetched() {
        let error = PublishedSet::named("svhn").unwrap_err().to_string();
        assert!(PUBLISHED.iter().all(|set| error.contains(set.name)), "{error}");
    }
}
