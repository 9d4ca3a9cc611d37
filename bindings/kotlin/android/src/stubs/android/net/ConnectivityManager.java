package android.net;

public class ConnectivityManager {
    public Network getActiveNetwork() {
        throw new UnsupportedOperationException("stub");
    }

    public NetworkCapabilities getNetworkCapabilities(Network network) {
        throw new UnsupportedOperationException("stub");
    }
}
