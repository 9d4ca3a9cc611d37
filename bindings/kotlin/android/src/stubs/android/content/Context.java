package android.content;

public abstract class Context {
    public static final String CONNECTIVITY_SERVICE = "connectivity";
    public static final String POWER_SERVICE = "power";

    public abstract Context getApplicationContext();

    public abstract java.io.File getNoBackupFilesDir();

    public abstract Object getSystemService(String name);

    public abstract Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter);
}
