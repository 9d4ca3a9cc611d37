package androidx.work;

import android.content.Context;

public abstract class WorkManager {
    public static WorkManager getInstance(Context context) {
        throw new UnsupportedOperationException("stub");
    }

    public Operation enqueueUniqueWork(String uniqueWorkName, ExistingWorkPolicy policy, OneTimeWorkRequest work) {
        throw new UnsupportedOperationException("stub");
    }

    public abstract Operation cancelUniqueWork(String uniqueWorkName);
}
