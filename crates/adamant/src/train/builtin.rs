//! The recipes inside the binary, by name.

use super::recipe::Recipe;
use super::recipe_error::RecipeError;
use std::path::PathBuf;

/// Name and text of every recipe of `recipes/`; the first is what `adamant train` does when nothing is said.
pub const RECIPES: [(&str, &str); 10] = [
    ("quickstart", include_str!("../../../../recipes/quickstart.toml")),
    ("quickstart_standard", include_str!("../../../../recipes/quickstart_standard.toml")),
    ("fashion_mixture", include_str!("../../../../recipes/fashion_mixture.toml")),
    ("fashion_adversarial", include_str!("../../../../recipes/fashion_adversarial.toml")),
    ("fashion_standard", include_str!("../../../../recipes/fashion_standard.toml")),
    ("cifar10_mixture", include_str!("../../../../recipes/cifar10_mixture.toml")),
    ("cifar10_adversarial", include_str!("../../../../recipes/cifar10_adversarial.toml")),
    ("cifar10_standard", include_str!("../../../../recipes/cifar10_standard.toml")),
    ("imagenet_mixture", include_str!("../../../../recipes/imagenet_mixture.toml")),
    ("paper_r152", include_str!("../../../../recipes/paper_r152.toml")),
];

/// The recipe of a name, with assignments on top.
///
/// Errors: `UnknownRecipe`, which lists the names; as [`Recipe::parse`].
pub fn recipe(name: &str, sets: &[String]) -> Result<Recipe, RecipeError> {
    let Some((_, text)) = RECIPES.iter().find(|(known, _)| *known == name) else {
        let valid = RECIPES.iter().map(|(name, _)| (*name).to_string()).collect();
        return Err(RecipeError::UnknownRecipe { found: name.to_string(), valid });
    };
    Recipe::parse(text, &PathBuf::from(format!("recipes/{name}.toml")), sets)
}

#[cfg(test)]
mod g36_tidy {
    use super::*;
    use crate::train::plan::Plan;
    use std::path::Path;

    #[test]
    fn every_recipe_has_a_meaning_and_prints_itself_back() {
        for (name, _) in RECIPES {
            let read = recipe(name, &[]).unwrap_or_else(|e| panic!("{e}"));
            let again = Recipe::parse(&read.print(), Path::new("printed"), &[]).unwrap();
            assert_eq!(read.differences(&again), [], "{name}");
            if let Err(error) = Plan::new(&again) {
                panic!("{name}: {error}");
            }
        }
    }

    #[test]
    fn every_file_of_the_recipes_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".toml").map(str::to_string)
            })
            .collect();
        files.sort();
        let mut names = RECIPES.map(|(name, _)| name.to_string());
        names.sort();
        assert_eq!(files, names);
    }

    #[test]
    fn the_head_of_every_recipe_says_source_command_hardware_time_and_expectation() {
        for (name, text) in RECIPES {
            let head: String = text.lines().take_while(|line| line.starts_with('#')).collect();
            let command = if name == "quickstart" { "adamant train " } else { name };
            for part in ["Source:", command, "Hardware:", "Time:", "Expected:"] {
                assert!(head.contains(part), "{name}: its head says no {part}");
            }
        }
    }

    #[test]
    fn an_unknown_recipe_lists_the_known_ones() {
        let error = recipe("quikstart", &[]).unwrap_err().to_string();
        assert!(error.contains("quikstart") && error.contains("paper_r152"), "{error}");
    }
}
