//! Whole files of transactions.
//!
//! A file is held in memory once, read on a thread of its own, and its rows go to the database in batches while the rest
//! is still being read: memory is bounded by the largest file times the imports at once, and no request waits for a file of
//! somebody else.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use scale_records::domain::{FileHash, NewTransaction, NewUpload, Text, Upload, UploadCounts};
use scale_records::import::{Defaults, FileError, Kind, Reader};
use scale_records::store::{self, Begun};
use tokio::sync::mpsc;

use super::super::Shared;
use super::super::extract::{Person, Query, broken_off, in_pause, media_type, read_body, unsupported};
use super::super::life::limited;
use super::super::problem::{Fault, Problem};
use super::super::wire::{self, ImportOptions, ImportQuery, Imported, Uploads, today};
use super::json;
use crate::limit::Bucket;

/// Rows that go to the database at once.
const BATCH: usize = 2_000;
/// Batches that wait for the database.
const BATCHES: usize = 2;
/// How long an import waits for one of those that run to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files that are listed.
const LISTED: u16 = 200;
const TYPES: &str = "text/csv, application/json, or multipart/form-data with the file as `file`";

/// A file as it came in.
struct File {
    bytes: Bytes,
    kind: Kind,
    name: Text<255>,
}

/// List imported files
///
/// Newest first, at most 200.
#[utoipa::path(get, path = "/api/v1/uploads", tag = "transactions", operation_id = "list_uploads",
    responses((status = 200, description = "The files", body = Uploads<'_>)))]
pub(in crate::http) async fn list(State(shared): State<Arc<Shared>>, person: Person) -> Result<Response, Problem> {
    let uploads = shared.api.records.uploads(person.scope(), LISTED).await?;
    Ok(json(StatusCode::OK, &Uploads { items: uploads.iter().map(wire::Upload::from).collect() }))
}

/// Import a file of transactions
///
/// A bank's CSV, or JSON with an array of objects; columns are found by their names. All rows or none: a file with a row that
/// is no transaction is refused and every such row named by its line, unless `partial=true`. Rows that are there already
/// are skipped, and so is a whole file that was imported before.
#[utoipa::path(post, path = "/api/v1/transactions/import", tag = "transactions", operation_id = "import_transactions",
    params(ImportQuery),
    request_body(description = "The file", content(
        (String = "text/csv", example = "date,description,amount,currency\n2026-02-28,Coffee,-3.20,EUR\n"),
        (Vec<Value> = "application/json"),
        (Object = "multipart/form-data"))),
    responses(
        (status = 201, description = "Imported", body = Imported<'_>),
        (status = 200, description = "It had been imported before; nothing has changed", body = Imported<'_>)))]
pub(in crate::http) async fn import(
    State(shared): State<Arc<Shared>>,
    person: Person,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let now = shared.api.clock.now();
    let options = query.read(today(now))?;
    let decision = shared.api.limiter.take(Bucket::Import(person.user), now).await;
    if !decision.allowed {
        return Ok(limited(decision));
    }
    let permit = tokio::time::timeout(PATIENCE, shared.imports.clone().acquire_owned()).await;
    let Ok(Ok(_permit)) = permit else {
        return Err(Problem::unavailable("too_many_imports", "other files are being imported; try again in a moment"));
    };
    let file = receive(&shared, request, &options).await?;
    store(&shared, person, file, &options).await
}

/// The file, whichever way it came.
async fn receive(shared: &Shared, request: Request, options: &ImportOptions) -> Result<File, Problem> {
    let config = &shared.api.config;
    let (most, pause) = (config.max_import(), config.body_timeout());
    let media = media_type(request.headers());
    let kind = match media.as_deref() {
        Some("text/csv") => Kind::Csv,
        Some("application/json") => Kind::Json,
        Some("multipart/form-data") => return form(request, most, pause).await,
        _ => return Err(unsupported(TYPES)),
    };
    let bytes = read_body(request, most, pause).await?;
    let name = match &options.filename {
        Some(name) => name.clone(),
        None => file_name(if kind == Kind::Csv { "import.csv" } else { "import.json" }),
    };
    Ok(File { bytes, kind, name })
}

/// The field `file` of a form.
async fn form(mut request: Request, most: usize, pause: Duration) -> Result<File, Problem> {
    // The form's own parts come on top of the file; the file is measured below.
    DefaultBodyLimit::apply(DefaultBodyLimit::max(most.saturating_add(64 << 10)), &mut request);
    let wrong = |detail: &str| Problem::malformed("malformed_form", detail);
    let bad_form = |_| wrong("the form cannot be read; send multipart/form-data with the file as `file`");
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| bad_form(()))?;
    let mut file = None;
    while let Some(mut field) = in_pause(pause, form.next_field()).await?.map_err(|error| body_error(&error, most))? {
        if field.name() != Some("file") || file.is_some() {
            return Err(wrong("the form has other fields; it takes one, the file as `file`"));
        }
        // Paths that some clients send are nobody's business.
        let given = field.file_name().map(|name| name.rsplit(['/', '\\']).next().unwrap_or(name).to_owned());
        let name = given.as_deref().and_then(|name| Text::new("filename", name).ok());
        let media = field.content_type().map(|media| media.split(';').next().unwrap_or_default().trim().to_owned());
        let mut bytes = BytesMut::new();
        while let Some(chunk) = in_pause(pause, field.chunk()).await?.map_err(|error| body_error(&error, most))? {
            if bytes.len() + chunk.len() > most {
                return Err(Problem::too_large(most));
            }
            bytes.extend_from_slice(&chunk);
        }
        let named_json = name.as_ref().is_some_and(|name| name.as_str().to_ascii_lowercase().ends_with(".json"));
        let kind = if media.as_deref() == Some("application/json") || named_json { Kind::Json } else { Kind::Csv };
        let fallback = || file_name(if kind == Kind::Csv { "import.csv" } else { "import.json" });
        file = Some(File { bytes: bytes.freeze(), kind, name: name.unwrap_or_else(fallback) });
    }
    file.ok_or_else(|| wrong("the form has no field `file`"))
}

fn body_error(error: &axum::extract::multipart::MultipartError, most: usize) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(most),
        _ => broken_off(),
    }
}

fn file_name(name: &str) -> Text<255> {
    // Our own names are short and printable.
    Text::new("filename", name).expect("a name of ours is a text")
}

/// What the reading thread says.
enum Parsed {
    Rows(Vec<NewTransaction>),
    /// The end: how many rows are none, and the first of them.
    End {
        rejected: u64,
        faults: Vec<Fault>,
    },
}

async fn store(shared: &Shared, person: Person, file: File, options: &ImportOptions) -> Result<Response, Problem> {
    let now = shared.api.clock.now();
    let upload_type = if file.kind == Kind::Csv { "csv" } else { "json" };
    let (sender, mut parsed) = mpsc::channel(BATCHES);
    let (bytes, defaults) = (file.bytes.clone(), options.defaults);
    let partial = options.partial;
    let reading = tokio::task::spawn_blocking(move || read(&bytes, file.kind, &defaults, partial, &sender));
    let bytes = file.bytes;
    let hashing = tokio::task::spawn_blocking(move || FileHash::of(&bytes));
    let file_hash = hashing.await.map_err(|_| Problem::internal())?;
    let new = NewUpload { file_hash, filename: file.name, upload_type };

    let mut open: Option<Box<dyn store::Import>> = None;
    let (mut rows, mut inserted) = (0_u64, 0_u64);
    while let Some(piece) = parsed.recv().await {
        match piece {
            Parsed::Rows(batch) => {
                let import = match &mut open {
                    Some(import) => import,
                    None => match shared.api.records.begin_import(person.user, &new, now).await? {
                        Begun::Open(import) => open.insert(import),
                        Begun::Seen(upload) => return Ok(imported(&upload, true, Vec::new())),
                    },
                };
                rows += batch.len() as u64;
                inserted += import.insert(&batch).await?;
            }
            Parsed::End { rejected, faults } => {
                let Some(import) = open.take() else { return Err(refused(rejected, faults)) };
                if rejected > 0 && !partial {
                    import.abandon().await;
                    return Err(refused(rejected, faults));
                }
                let counts = UploadCounts { inserted, skipped_duplicates: rows - inserted, rejected };
                let upload = import.commit(counts).await?;
                return Ok(imported(&upload, false, faults));
            }
        }
    }
    // Nothing more comes without an end: the file could not be opened, or the thread failed.
    match reading.await {
        Ok(Err(error)) => Err(unreadable(&error)),
        Ok(Ok(())) | Err(_) => Err(Problem::internal()),
    }
}

/// Reads the file. Ends early when nobody listens any more.
fn read(
    bytes: &[u8],
    kind: Kind,
    defaults: &Defaults,
    partial: bool,
    sender: &mpsc::Sender<Parsed>,
) -> Result<(), FileError> {
    let mut batch = Vec::with_capacity(BATCH);
    let (mut rejected, mut faults) = (0_u64, Vec::new());
    for row in Reader::open(bytes, kind, defaults)? {
        match row.result {
            // After a bad row of a file that is all or nothing, only the other bad ones matter.
            Ok(_) if rejected > 0 && !partial => {}
            Ok(new) => batch.push(new),
            Err(error) => {
                rejected += 1;
                if faults.len() < Problem::MAX_FAULTS {
                    let problem = error.problem;
                    faults.push(Fault { field: Some(error.column), line: Some(row.line), problem });
                }
            }
        }
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.blocking_send(Parsed::Rows(full)).is_err() {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() && (rejected == 0 || partial) && sender.blocking_send(Parsed::Rows(batch)).is_err() {
        return Ok(());
    }
    let _ = sender.blocking_send(Parsed::End { rejected, faults });
    Ok(())
}

fn unreadable(error: &FileError) -> Problem {
    let detail = "the file cannot be read; nothing was imported";
    let fault = Fault { field: None, line: error.line(), problem: error.to_string() };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), detail).with_faults(vec![fault], 1)
}

fn refused(rejected: u64, faults: Vec<Fault>) -> Problem {
    let detail = "some rows of the file are not valid transactions; nothing was imported. Correct them, or import the others with partial=true";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected_rows", detail).with_faults(faults, rejected)
}

fn imported(upload: &Upload, already_imported: bool, errors: Vec<Fault>) -> Response {
    let answer = Imported {
        upload: upload.into(),
        already_imported,
        inserted: if already_imported { 0 } else { upload.counts.inserted },
        skipped_duplicates: if already_imported { 0 } else { upload.counts.skipped_duplicates },
        rejected: if already_imported { 0 } else { upload.counts.rejected },
        errors,
    };
    json(if already_imported { StatusCode::OK } else { StatusCode::CREATED }, &answer).into_response()
}
