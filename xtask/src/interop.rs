//! Runs clients of another make against the real coordinator: devices in Python through whole rounds, and the errors of the
//! API as gRPC's and the browser's own libraries read them.

use anyhow::{Context, Result, ensure};

use crate::api::{self, Program};
use crate::command;
use crate::node::{self, NodePackages};
use crate::services::{Folder, tail};
use crate::tally::Tally;
use crate::tools::PythonEnvironment;
use crate::workspace::root;

const PYTHON: PythonEnvironment<'_> = PythonEnvironment {
    name: "interop",
    requirements: include_str!("../../tests/interop/requirements.txt"),
    purpose: "the independent client in Python",
};

const NODE: NodePackages<'_> =
    NodePackages { name: "interop", folder: "tests/interop/errors", purpose: "reads errors as a browser does" };

const NODE_TESTS: &[&str] = &["tests/interop/errors/errors.test.mjs"];

pub(crate) fn run(program: Program, tally: &mut Tally) -> Result<()> {
    let python = PYTHON.ensure()?.join("python");
    let packages = NODE.ensure()?;
    let coordinator = program.build()?;

    let mut devices = command::command(&python);
    devices.arg("tests/interop/run.py").arg("--coordinator").arg(&coordinator);
    let mut own = Tally::default();
    let ran = command::run_reading(&mut devices, |line| own.read_line(line)).and_then(|()| {
        ensure!(own.passed() > 0, "the Python client ran no test");
        Ok(())
    });
    tally.absorb("interop", own);

    let folder = Folder::new(None)?;
    let descriptors = folder.path.join("fl.binpb");
    let mut protoc = command::command(&python);
    protoc.args(["-m", "grpc_tools.protoc", "-Iproto/proto", "--include_imports", "scale/fl/v1/fl.proto"]);
    protoc.arg(format!("--descriptor_set_out={}", descriptors.display()));
    command::run(&mut protoc)?;
    let served = api::serve(&coordinator, &folder.path)?;
    let device = enrolled(&python, &coordinator, &folder, &served.url);
    let read = device.and_then(|token| {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let (packages, descriptors) = (text(&packages), text(&descriptors));
        let environment = [
            ("SCALE_INTEROP_URL", served.url.as_str()),
            ("SCALE_INTEROP_TOKEN", &token),
            ("SCALE_INTEROP_PACKAGES", &packages),
            ("SCALE_INTEROP_DESCRIPTORS", &descriptors),
        ];
        node::test(NODE_TESTS, &environment, tally)
    });
    let log = served.server.stop();
    // Both have run, whatever the first one found.
    ran.and(read.with_context(|| format!("the server's last words:\n{}", tail(&log))))
}

/// The token of a device that the Python client enrolls.
fn enrolled(python: &std::path::Path, coordinator: &std::path::Path, folder: &Folder, url: &str) -> Result<String> {
    let mut mint = command::command(coordinator);
    mint.args(["token", "mint", "--kind", "enroll", "--data"]).arg(folder.path.join("data"));
    let token = command::output(&mut mint)?;
    let address = url.trim_start_matches("http://");
    let script = "import sys; from enrollment import Identity; print(Identity(sys.argv[1], sys.argv[2]).token)";
    let mut enroll = command::command(python);
    enroll.current_dir(root().join("tests/interop")).args(["-c", script, address, token.trim()]);
    Ok(command::output(&mut enroll)?.trim().to_owned())
}
