# The elastic-net path of R glmnet on the files of a city; prints one line of JSON.
#
#     Rscript glmnet.R FOLDER cv|path REPEATS
suppressPackageStartupMessages({library(Matrix); library(glmnet)})
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]; what <- arguments[2]; repeats <- as.integer(arguments[3])
vector_of <- function(name, type, size) {
  path <- file.path(folder, name)
  readBin(path, type, n = file.size(path) / size, size = size)
}
counts <- vector_of("counts.f8", "double", 8)
folds <- vector_of("folds.i4", "integer", 4) + 1L
lambdas <- vector_of("lambdas.f8", "double", 8)
pointer <- vector_of("indptr.i4", "integer", 4)
rows <- vector_of("indices.i4", "integer", 4)
x <- new("dgCMatrix", i = rows, p = pointer, x = rep(1, length(rows)),
         Dim = c(length(counts), length(pointer) - 1L))
rm(rows, pointer); invisible(gc())
memory <- function(name) {
  line <- grep(paste0("^", name, ":"), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) * 1024 / 1e9
}
before <- memory("VmRSS")
seconds <- Inf
for (number in seq_len(repeats)) {
  started <- proc.time()[["elapsed"]]
  if (what == "cv") {
    cv <- cv.glmnet(x, counts, family = "poisson", alpha = 0.5, lambda = lambdas, foldid = folds,
                    lower.limits = 0, standardize = FALSE)
    fit <- cv$glmnet.fit
  } else {
    fit <- glmnet(x, counts, family = "poisson", alpha = 0.5, lambda = lambdas, lower.limits = 0,
                  standardize = FALSE)
  }
  seconds <- min(seconds, proc.time()[["elapsed"]] - started)
}
writeBin(as.vector(rbind(fit$lambda, as.numeric(fit$a0), as.matrix(fit$beta))), file.path(folder, paste0("path-glmnet-", what, ".f8")))
if (what == "cv") writeBin(as.numeric(cv$cvm), file.path(folder, "mean-glmnet-cv.f8"))
best <- if (what == "cv") which.min(cv$cvm) - 1L else -1L
cat(sprintf('{"seconds": %.4f, "peak_gb": %.6f, "before_gb": %.6f, "penalties": %d, "best": %d, "version": "R %s, glmnet %s"}\n',
            seconds, memory("VmHWM"), before, length(fit$lambda), best,
            paste(R.version$major, R.version$minor, sep = "."), as.character(packageVersion("glmnet"))))
