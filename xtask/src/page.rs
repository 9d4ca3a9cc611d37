//! Opens the REST facade's `/docs` in Chromium, on a server of its own: every operation is there and opens, one is tried,
//! and nothing is written to the console.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::node::{self, NodePackages};
use crate::services::{Folder, tail};
use crate::tally::Tally;
use crate::tools::{apt_install, on_path};
use crate::{api, workspace};

const TESTS: &[&str] = &["rest/tests/page/schema.test.mjs", "rest/tests/page/browser.test.mjs"];

const PACKAGES: NodePackages<'_> =
    NodePackages { name: "page", folder: "rest/tests/page", purpose: "drives Chromium over the page /docs" };

#[derive(Args)]
pub(crate) struct Options {
    /// Leave pictures of the page in this folder: wide and narrow, light and dark
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
    #[command(flatten)]
    program: api::Program,
}

impl Options {
    /// What `test` and `ci` run.
    pub(crate) fn after_tests() -> Self {
        Self { pictures: None, program: api::Program::OF_TESTS }
    }
}

pub(crate) fn run(options: &Options, tally: &mut Tally) -> Result<()> {
    let packages = PACKAGES.ensure()?;
    let chromium = ensure_chromium()?;
    let coordinator = options.program.build()?;
    let folder = Folder::new(None)?;
    let served = api::serve(&coordinator, &folder.path)?;
    let pictures = options.pictures.as_ref().map(|to| workspace::root().join(to));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (packages, pictures) = (text(&packages), pictures.as_deref().map(text).unwrap_or_default());
    let environment = [
        ("SCALE_PAGE_URL", served.url.as_str()),
        ("SCALE_PAGE_TOKEN", &served.owner),
        ("SCALE_PAGE_PACKAGES", &packages),
        ("SCALE_PAGE_CHROMIUM", &chromium),
        ("SCALE_PAGE_PICTURES", &pictures),
    ];
    let result = node::test(TESTS, &environment, tally);
    let log = served.server.stop();
    result.with_context(|| format!("the server's last words:\n{}", tail(&log)))
}

/// The browser's path: what `SCALE_PAGE_CHROMIUM` names, or one of the usual programs.
///
/// # Errors
/// If there is none and none can be installed.
pub(crate) fn ensure_chromium() -> Result<String> {
    if let Ok(named) = std::env::var("SCALE_PAGE_CHROMIUM")
        && !named.is_empty()
    {
        return Ok(named);
    }
    if !["chromium", "google-chrome"].into_iter().any(on_path) {
        apt_install(&["chromium"], "there is no Chromium, which the page is opened in")?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = ["chromium", "google-chrome"].into_iter().flat_map(|name| folders.iter().map(move |at| at.join(name)));
    let found = found.into_iter().find(|program| program.is_file()).context("Chromium is not on PATH")?;
    Ok(found.to_string_lossy().into_owned())
}
