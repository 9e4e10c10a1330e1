import { defineConfig } from 'prisma/config';

// There is no datasource: the server connects with a driver adapter, and applies the migrations itself (src/postgres/migrations.ts).
export default defineConfig({ schema: 'schema.prisma', migrations: { path: 'migrations' } });
