package androidx.work;

import android.content.Context;

public abstract class ListenableWorker {
    public ListenableWorker(Context context, WorkerParameters parameters) {}

    public final Context getApplicationContext() {
        throw new UnsupportedOperationException("stub");
    }

    public abstract static class Result {
        public static Result success() {
            throw new UnsupportedOperationException("stub");
        }

        public static Result retry() {
            throw new UnsupportedOperationException("stub");
        }

        public static Result failure() {
            throw new UnsupportedOperationException("stub");
        }
    }
}
