//! What can be asked.

use crate::{Bridge, Gitlab, GitlabError, Heard, Job, Pipeline, Project, status};

/// How much of a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Much {
    All,
    FirstPage,
}

impl Much {
    fn pages(self) -> Option<usize> {
        match self {
            Much::All => None,
            Much::FirstPage => Some(1),
        }
    }
}

impl Gitlab {
    /// The pipelines of a project with this status; child pipelines if `of_parents`, else all others.
    ///
    /// Of a status in which pipelines stay for ever these are the newest hundred, for the history has no end.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn pipelines(
        &self,
        project: &Project,
        status: &str,
        of_parents: bool,
    ) -> Result<Heard<Vec<Pipeline>>, GitlabError> {
        let mut query = vec![("status", status)];
        // Without it the list has no child pipelines.
        if of_parents {
            query.push(("source", "parent_pipeline"));
        }
        let much = match status::is_over(status) {
            true => Much::FirstPage,
            false => Much::All,
        };
        let path = ["projects", project.as_str(), "pipelines"];
        self.list(&path, &query, much.pages()).await
    }

    /// One pipeline.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn pipeline(&self, project: &Project, id: u64) -> Result<Pipeline, GitlabError> {
        let id = id.to_string();
        let heard = self
            .one(&["projects", project.as_str(), "pipelines", &id])
            .await?;
        Ok(heard.value)
    }

    /// The jobs of a pipeline, of each the last try, without those that start other pipelines.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn jobs_of(
        &self,
        project: &Project,
        pipeline: u64,
    ) -> Result<Heard<Vec<Job>>, GitlabError> {
        let id = pipeline.to_string();
        let path = ["projects", project.as_str(), "pipelines", &id, "jobs"];
        self.list(&path, &[], None).await
    }

    /// The jobs of a pipeline that start other pipelines.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn bridges_of(
        &self,
        project: &Project,
        pipeline: u64,
    ) -> Result<Vec<Bridge>, GitlabError> {
        let id = pipeline.to_string();
        let path = ["projects", project.as_str(), "pipelines", &id, "bridges"];
        Ok(self.list(&path, &[], None).await?.value)
    }

    /// The jobs of a project that are not over, those of child pipelines too, each with its pipeline.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn active_jobs(&self, project: &Project) -> Result<Heard<Vec<Job>>, GitlabError> {
        let scopes = status::OF_ACTIVE_JOBS.map(|status| ("scope[]", status));
        let path = ["projects", project.as_str(), "jobs"];
        self.list(&path, &scopes, None).await
    }

    /// One job.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn job(&self, project: &Project, id: u64) -> Result<Job, GitlabError> {
        let id = id.to_string();
        let heard = self
            .one(&["projects", project.as_str(), "jobs", &id])
            .await?;
        Ok(heard.value)
    }

    /// The job that a job token belongs to.
    ///
    /// # Errors
    /// [`GitlabError`]; other tokens are refused.
    pub async fn own_job(&self) -> Result<Job, GitlabError> {
        Ok(self.one(&["job"]).await?.value)
    }

    /// Whether anything of a project is shown: its newest job is.
    ///
    /// # Errors
    /// [`GitlabError`].
    pub async fn shows(&self, project: &Project) -> Result<(), GitlabError> {
        let path = ["projects", project.as_str(), "jobs"];
        let much = Much::FirstPage.pages();
        self.list::<Job>(&path, &[], much).await.map(drop)
    }
}
