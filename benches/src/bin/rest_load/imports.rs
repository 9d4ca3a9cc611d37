//! Whole files over HTTP, while the stored rows are there.

use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use scale_benches::quantiles::Quantiles;
use serde::Serialize;

use crate::calls::Person;
use crate::link::Link;
use crate::people;
use crate::server::Server;

/// Rows of a small file and of a large one.
const ROWS: (u32, u32) = (1_000, 100_000);
/// Small files, each of another person.
const SMALL: usize = 30;

/// What imports cost.
#[derive(Debug, Serialize)]
pub(crate) struct ImportFigures {
    /// Files of 1,000 rows, one after the other.
    pub(crate) of_1_000: Quantiles,
    /// One file of 100,000 rows.
    pub(crate) of_100_000_s: f64,
    pub(crate) of_100_000_bytes: usize,
    /// Memory of the server before that file, and the most while it was imported.
    pub(crate) resident_before_bytes: u64,
    pub(crate) resident_peak_bytes: u64,
}

/// Imports the files. `newcomer` has no rows yet.
pub(crate) async fn measure(
    server: &Server,
    people: &[std::sync::Arc<Person>],
    newcomer: &Person,
    run: &str,
) -> anyhow::Result<ImportFigures> {
    let mut link = Link::open(server.address).await?;
    let mut times = Vec::new();
    for (n, person) in people.iter().take(SMALL).enumerate() {
        times.push(import(&mut link, person, people::csv(&format!("{run} small {n}"), 0..ROWS.0)).await?);
    }
    let file = people::csv(&format!("{run} large"), 0..ROWS.1);
    let bytes = file.len();
    let before = server.resident();
    server.forget_peak()?;
    let large = import(&mut link, newcomer, file).await?;
    Ok(ImportFigures {
        of_1_000: Quantiles::of(times),
        of_100_000_s: large.as_secs_f64(),
        of_100_000_bytes: bytes,
        resident_before_bytes: before,
        resident_peak_bytes: server.peak(),
    })
}

async fn import(link: &mut Link, person: &Person, file: String) -> anyhow::Result<Duration> {
    let request = person.ask(Method::POST, "transactions/import").header(CONTENT_TYPE, "text/csv").body(file.into())?;
    let begun = Instant::now();
    link.call(request, StatusCode::CREATED).await?;
    Ok(begun.elapsed())
}
