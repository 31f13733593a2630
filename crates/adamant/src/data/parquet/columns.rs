//! Which columns of a table hold pictures and labels, and what the classes are called.
//!
//! Hugging Face `datasets` writes its features as JSON beside the schema: there an `Image` and a `ClassLabel` are told by
//! their type. Other tables are read by the usual names of columns.

use parquet::basic::Type;
use parquet::schema::types::SchemaDescriptor;
use serde_json::Value;

/// Names that columns of pictures have.
const PICTURES: [&str; 6] = ["image", "img", "picture", "jpg", "png", "bytes"];

/// Names that columns of labels have; the first that is there counts, so that a superclass does not.
const LABELS: [&str; 6] = ["label", "labels", "fine_label", "class", "cls", "target"];

/// Positions of columns among the leaves of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub picture: usize,
    /// Where the picture came from, for messages.
    pub path: Option<usize>,
    /// Absent from sets without labels.
    pub label: Option<usize>,
    /// What the classes are called, where the features say so.
    pub names: Option<Vec<String>>,
}

/// Finds the columns; the error says what there is.
pub(super) fn find(schema: &SchemaDescriptor, features: Option<&str>) -> Result<Columns, String> {
    let features: Value =
        features.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let features = &features["info"]["features"];
    let of_type = |kind: &str| -> Vec<&str> {
        let columns = features.as_object().into_iter().flatten();
        columns.filter(|(_, feature)| feature["_type"] == kind).map(|(name, _)| &**name).collect()
    };
    let leaf = |path: &[&str], types: &[Type]| {
        schema.columns().iter().position(|column| {
            column.max_rep_level() == 0
                && types.contains(&column.physical_type())
                && column.path().parts().iter().map(String::as_str).eq(path.iter().copied())
        })
    };
    let bytes = |name: &str| {
        leaf(&[name, "bytes"], &[Type::BYTE_ARRAY]).or_else(|| leaf(&[name], &[Type::BYTE_ARRAY]))
    };
    let whole = |name: &str| leaf(&[name], &[Type::INT32, Type::INT64]);
    let has = || {
        let columns = schema.columns().iter();
        columns
            .map(|c| format!("{} {:?}", c.path(), c.physical_type()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let images = of_type("Image");
    let (picture, name) = images
        .iter()
        .chain(&PICTURES)
        .find_map(|name| Some((bytes(name)?, *name)))
        .ok_or_else(|| format!("columns are {}", has()))?;
    let classes = of_type("ClassLabel");
    let preferred = LABELS.iter().filter(|name| classes.contains(name));
    let named = preferred.chain(&classes).chain(&LABELS);
    let label = named.clone().find_map(|name| Some((whole(name)?, *name)));
    let names = label.and_then(|(_, name)| features[name]["names"].as_array()).map(|names| {
        names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect()
    });
    Ok(Columns {
        picture,
        path: leaf(&[name, "path"], &[Type::BYTE_ARRAY]),
        label: label.map(|(position, _)| position),
        names,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn schema(message: &str) -> SchemaDescriptor {
        SchemaDescriptor::new(Arc::new(parse_message_type(message).unwrap()))
    }

    #[test]
    fn features_decide_before_names_do() {
        let schema = schema(
            "message m {
                optional int64 coarse_label;
                optional group photo { optional binary bytes; optional binary path (UTF8); }
                optional int64 fine_label;
                optional group image { optional binary bytes; }
            }",
        );
        let features = r#"{"info": {"features": {
            "coarse_label": {"_type": "ClassLabel", "names": ["animal", "thing"]},
            "photo": {"_type": "Image"},
            "fine_label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}"#;
        let columns = find(&schema, Some(features)).unwrap();
        let names = Some(vec!["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(columns, Columns { picture: 1, path: Some(2), label: Some(3), names });
        for features in [None, Some("no JSON"), Some("[]")] {
            let columns = find(&schema, features).unwrap();
            let expected = Columns { picture: 4, path: None, label: Some(3), names: None };
            assert_eq!(columns, expected);
        }
    }

    #[test]
    fn tables_of_other_things_say_what_there_is() {
        let text = schema("message m { required binary text (UTF8); required int32 label; }");
        let error = find(&text, None).unwrap_err();
        assert_eq!(error, "columns are \"text\" BYTE_ARRAY, \"label\" INT32");
        let repeated = schema("message m { repeated binary image; }");
        assert!(find(&repeated, None).is_err());
        let unlabelled = schema("message m { required binary image; required binary label; }");
        assert_eq!(find(&unlabelled, None).unwrap().label, None);
    }
}
