import { builder } from '../../graphql/builder.ts';
import { read } from '../../graphql/row.ts';
import type { SessionRow } from './session.loader.ts';
import { column } from './session-column.schema.ts';

export const SessionSettings = builder.objectRef<SessionRow>('SessionSettings').implement({
  description: 'How the agent runs the session. Values are in their canonical form; null if not set.',
  fields: t => {
    const { extensions } = column('settings');
    const textSetting = (name: string) => t.string({ nullable: true, extensions, resolve: row => textOrNull(read(row, 'settings')[name]) });
    const numberSetting = (name: string) =>
      t.int({ nullable: true, extensions, resolve: row => numberOrNull(read(row, 'settings')[name]) });
    return {
      thinkingLevel: textSetting('thinkingLevel'),
      verboseLevel: textSetting('verboseLevel'),
      reasoningLevel: textSetting('reasoningLevel'),
      elevatedLevel: textSetting('elevatedLevel'),
      ttsAuto: textSetting('ttsAuto'),
      execHost: textSetting('execHost'),
      execSecurity: textSetting('execSecurity'),
      execAsk: textSetting('execAsk'),
      execNode: textSetting('execNode'),
      responseUsage: textSetting('responseUsage'),
      sendPolicy: textSetting('sendPolicy'),
      groupActivation: textSetting('groupActivation'),
      queueMode: textSetting('queueMode'),
      queueDebounceMs: numberSetting('queueDebounceMs'),
      queueCap: numberSetting('queueCap'),
      queueDrop: textSetting('queueDrop'),
      providerOverride: textSetting('providerOverride'),
      modelOverride: textSetting('modelOverride'),
      authProfileOverride: textSetting('authProfileOverride'),
      contextTokens: numberSetting('contextTokens'),
      extra: t.field({
        type: 'JSON',
        description: 'Other fields from the store the session was imported from, unchanged. Can be large.',
        ...column('settingsExtra'),
      }),
    };
  },
});

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
