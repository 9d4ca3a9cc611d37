//! `Enrollment`: the one call that needs no bearer token; the enrollment token is in the message.

use scale_proto::answer::Enroll;
use scale_proto::wire;
use tonic::{Request, Response, Status};

use super::{checked, problem};
use crate::auth::Enrollment;

pub(super) struct Service {
    pub(super) enrollment: Enrollment,
}

#[tonic::async_trait]
impl wire::enrollment_server::Enrollment for Service {
    async fn enroll(&self, request: Request<wire::EnrollRequest>) -> Result<Response<wire::EnrollResponse>, Status> {
        let request: Enroll = checked(request.into_inner())?;
        match self.enrollment.enroll(&request).await {
            Ok(enrolled) => Ok(Response::new(enrolled.into())),
            Err(error) => Err(problem::enrollment(&error)),
        }
    }
}
