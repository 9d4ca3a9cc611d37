//! Object stores as they are: S3 (s3s-fs, in this process), Azure Blob Storage (Azurite), and the coordinator's own signed
//! URLs (the real binary). Google Cloud Storage has no server that checks signatures and could run here: its URLs are held
//! against the documented form.

mod blobs;
mod gcs;
mod signed_urls;
mod staging;
mod stores;
