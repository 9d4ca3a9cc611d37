//! `Enrollment`: the one call that needs no bearer token; the enrolment token is in the message.

use scale_proto::answer::Enroll;
use scale_proto::wire;
use tonic::{Request, Response, Status};

use super::super::problem;
use super::checked;
use crate::auth::Enrolment;

pub(super) struct Service {
    pub(super) enrolment: Enrolment,
}

#[tonic::async_trait]
impl wire::enrollment_server::Enrollment for Service {
    async fn enroll(&self, request: Request<wire::EnrollRequest>) -> Result<Response<wire::EnrollResponse>, Status> {
        let request: Enroll = checked(request.into_inner())?;
        match self.enrolment.enrol(&request).await {
            Ok(enrolled) => Ok(Response::new(enrolled.into())),
            Err(error) => Err(problem::enrolment(&error)),
        }
    }
}
