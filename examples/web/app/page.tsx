import { Changes } from "@/components/Changes";
import { ImportPanel } from "@/components/ImportPanel";
import { RoundPanel } from "@/components/RoundPanel";
import { TransactionList } from "@/components/TransactionList";

export default function Home() {
  return (
    <>
      <h1>Your transactions</h1>
      <p className="lead">
        A model in this browser sorts them. When you correct it, it learns here, and only a masked update leaves this
        device.
      </p>
      <div className="columns">
        <div className="side">
          <ImportPanel />
          <RoundPanel />
        </div>
        <div className="wide">
          <Changes />
          <TransactionList />
        </div>
      </div>
    </>
  );
}
