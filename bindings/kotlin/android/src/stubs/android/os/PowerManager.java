package android.os;

public final class PowerManager {
    public boolean isInteractive() {
        throw new UnsupportedOperationException("stub");
    }

    public boolean isPowerSaveMode() {
        throw new UnsupportedOperationException("stub");
    }
}
