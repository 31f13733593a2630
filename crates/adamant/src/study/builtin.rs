//! The studies inside the binary, by name.

use super::StudyError;
use super::written::Study;

/// Name and text of every study of `studies/`, in the order of the documents.
pub const STUDIES: [(&str, &str); 13] = [
    ("clean-fraction", include_str!("../../../../studies/clean-fraction.toml")),
    ("mixture-bn", include_str!("../../../../studies/mixture-bn.toml")),
    ("normalisation", include_str!("../../../../studies/normalisation.toml")),
    ("two-domains", include_str!("../../../../studies/two-domains.toml")),
    ("consistent-bn", include_str!("../../../../studies/consistent-bn.toml")),
    ("depth", include_str!("../../../../studies/depth.toml")),
    ("crafting-mode", include_str!("../../../../studies/crafting-mode.toml")),
    ("filters", include_str!("../../../../studies/filters.toml")),
    ("protocols", include_str!("../../../../studies/protocols.toml")),
    ("small-epsilon", include_str!("../../../../studies/small-epsilon.toml")),
    ("activations", include_str!("../../../../studies/activations.toml")),
    ("half-precision", include_str!("../../../../studies/half-precision.toml")),
    ("label-leak", include_str!("../../../../studies/label-leak.toml")),
];

/// The study of a name.
///
/// Errors: `Unknown`, which lists the names.
pub fn study(name: &str) -> Result<Study, StudyError> {
    let Some((_, text)) = STUDIES.iter().find(|(known, _)| *known == name) else {
        let valid = STUDIES.iter().map(|(name, _)| (*name).to_string()).collect();
        return Err(StudyError::Unknown { found: name.to_string(), valid });
    };
    Study::parse(text, &format!("studies/{name}.toml"))
}

#[cfg(test)]
mod g36_tidy {
    use super::super::claims::paper_claims;
    use super::*;
    use crate::attack::{self, AttackDefaults};
    use crate::train::plan::Plan;
    use std::path::Path;

    #[test]
    fn every_cell_of_every_study_and_of_its_quick_form_has_a_meaning() {
        let claims = paper_claims();
        for (name, _) in STUDIES {
            let full = study(name).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(full.name, name);
            for study in [full.quick(), full] {
                let cells = study.cells(&[]).unwrap_or_else(|e| panic!("{e}"));
                for cell in &cells {
                    let plan = Plan::new(&cell.recipe)
                        .unwrap_or_else(|e| panic!("{} {}: {e}", study.name, cell.id()));
                    let defaults = AttackDefaults::new(plan.evaluation.defaults.threat.clone());
                    for attack in cell.evaluations.iter().flat_map(|e| &e.attacks) {
                        attack::parse_members(attack, &defaults)
                            .unwrap_or_else(|e| panic!("{name}: {e}"));
                    }
                }
                let mut ids: Vec<_> = cells.iter().map(|cell| cell.id()).collect();
                ids.sort();
                ids.dedup();
                assert_eq!(ids.len(), cells.len(), "{name}: two cells of one name");
                for test in &study.tests {
                    let known = claims.iter().any(|claim| claim.id == test.claim);
                    assert!(known, "{name}: {} is no claim", test.claim);
                }
            }
        }
    }

    #[test]
    fn every_file_of_the_studies_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".toml").map(str::to_string)
            })
            .filter(|name| name != "claims")
            .collect();
        files.sort();
        let mut names = STUDIES.map(|(name, _)| name.to_string());
        names.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn an_unknown_study_lists_the_known_ones() {
        let error = study("depht").unwrap_err().to_string();
        assert!(error.contains("depht") && error.contains("clean-fraction"), "{error}");
    }
}
