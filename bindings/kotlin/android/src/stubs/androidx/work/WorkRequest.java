package androidx.work;

import java.util.concurrent.TimeUnit;

public abstract class WorkRequest {
    public abstract static class Builder<B extends Builder<B, W>, W extends WorkRequest> {
        public B setConstraints(Constraints constraints) {
            throw new UnsupportedOperationException("stub");
        }

        public B setInitialDelay(long duration, TimeUnit timeUnit) {
            throw new UnsupportedOperationException("stub");
        }

        public W build() {
            throw new UnsupportedOperationException("stub");
        }
    }
}
