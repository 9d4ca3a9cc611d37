"use client";

import { ScaleClient } from "@scale-fl/web";
import { useEffect, useState } from "react";

export function App({ server }) {
  const [said, say] = useState("");
  useEffect(() => {
    window.predict = async (options, token, line) => {
      const client = await ScaleClient.create(options);
      await client.enroll(token);
      await client.refreshModel();
      const [prediction] = await client.predict([line]);
      await client.close();
      say(prediction.top[0].label);
      return prediction.top[0].label;
    };
  }, []);
  return (
    <main>
      <p id="server">{server}</p>
      <p id="said">{said}</p>
    </main>
  );
}
