//! The wire does not change by accident: the bytes of one message of every kind, and every field's number and type.
//!
//! After a deliberate change, `SCALE_BLESS=1 cargo test -p scale-proto --test golden` writes the files anew; the diff
//! then shows what older apps will meet.
#![allow(unreachable_pub, missing_docs)]

mod bodies;
mod samples;

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

#[test]
fn bytes_of_every_message_are_as_before() {
    let mut expected_files = BTreeSet::from(["schema.txt".to_owned()]);
    for (name, bytes) in samples::all() {
        let file = format!("{name}.hex");
        compare(&file, &(hex::encode(bytes) + "\n"));
        assert!(expected_files.insert(file), "two samples are called {name}");
    }
    let folder = std::fs::read_dir(golden("")).expect("the folder is there");
    let files: BTreeSet<_> = folder.map(|file| file.expect("readable").file_name().into_string().unwrap()).collect();
    assert_eq!(files, expected_files, "files of tests/golden and samples do not match");
}

/// Old bytes are read, not only written.
#[test]
fn stored_bytes_still_decode() {
    for (name, bytes) in samples::all() {
        let stored = std::fs::read_to_string(golden(&format!("{name}.hex"))).expect("a golden file");
        let stored = hex::decode(stored.trim()).expect("hexadecimal");
        // The stored message means the same: it decodes to the sample, which the body takes there and back.
        assert_eq!(stored, bytes, "{name}");
        bodies::ALL.iter().for_each(|(_, body)| body(&stored));
    }
    use scale_proto::{answer::Enrolled, plan::Plan, task::TaskConfig, wire};
    let stored = |name| hex::decode(std::fs::read_to_string(golden(name)).expect("a golden file").trim()).unwrap();
    assert_eq!(Plan::decode(&stored("Plan.hex")), Ok(samples::plan()));
    let config = wire::TaskConfig::decode(stored("TaskConfig.hex").as_slice()).expect("a message");
    assert_eq!(TaskConfig::try_from(config), Ok(samples::task_config()));
    // From before coordinators said when a device's token ends.
    let older = wire::EnrollResponse::decode(stored("EnrollResponse-older.hex").as_slice()).expect("a message");
    assert_eq!(Enrolled::try_from(older), Ok(Enrolled { expires_at: None, ..samples::enrolled() }));
}

#[test]
fn every_message_of_the_schema_has_a_sample() {
    let samples: BTreeSet<_> =
        samples::all().into_iter().map(|(name, _)| name.split('-').next().unwrap_or_default().to_owned()).collect();
    let schema: BTreeSet<_> = messages().into_iter().map(|message| message.name().to_owned()).collect();
    assert_eq!(samples, schema);
}

#[test]
fn numbers_and_types_of_all_fields_are_as_before() {
    compare("schema.txt", &listing());
}

/// One line per field and per call, sorted.
fn listing() -> String {
    let mut lines = BTreeSet::new();
    for message in messages() {
        lines.insert(format!("message {}", message.name()));
        for field in &message.field {
            lines.insert(format!("message {}.{}", message.name(), line(&message, field)));
        }
    }
    let services = descriptors().file.into_iter().flat_map(|file| file.service);
    for service in services {
        for method in &service.method {
            let (input, output) = (short(method.input_type()), short(method.output_type()));
            let stream = if method.server_streaming() { "stream " } else { "" };
            lines.insert(format!("service {}.{}({input}) returns ({stream}{output})", service.name(), method.name()));
        }
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn line(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
    let oneof = field.oneof_index.map_or(String::new(), |index| {
        format!(" in oneof {}", message.oneof_decl[usize::try_from(index).expect("an index")].name())
    });
    format!("{} = {}: {repeated}{kind}{oneof}", field.name(), field.number())
}

fn short(path: &str) -> &str {
    path.trim_start_matches(".scale.fl.v1.")
}

fn messages() -> Vec<DescriptorProto> {
    descriptors().file.into_iter().flat_map(|file| file.message_type).collect()
}

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(scale_proto::DESCRIPTORS).expect("made by the build")
}

fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn compare(file: &str, now: &str) {
    let path = golden(file);
    if std::env::var_os("SCALE_BLESS").is_some() {
        std::fs::write(&path, now).expect("writable");
    }
    let before = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(before == now, "{file} has changed. If that is meant, see the head of this file.\n{before}\n{now}");
}
